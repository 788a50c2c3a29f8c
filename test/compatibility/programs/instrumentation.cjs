// OpenTelemetry as its README sets it up; what it has not sent yet goes out at the end.
const { NodeTracerProvider, BatchSpanProcessor, InMemorySpanExporter } = require('@opentelemetry/sdk-trace-node');
const { registerInstrumentations } = require('@opentelemetry/instrumentation');
const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
provider.register();
registerInstrumentations({ instrumentations: [new HttpInstrumentation()] });
process.once('SIGTERM', async () => {
  await provider.forceFlush();
  console.log(exporter.getFinishedSpans().length > 0 ? 'spans are flushed' : 'there are no spans');
  await provider.shutdown();
});
