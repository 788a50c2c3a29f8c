# Answers with its pid.
run lambda { |env|
  env["rack.input"].read
  body = Process.pid.to_s
  [200, { "content-length" => body.bytesize.to_s }, [body]]
}
