"""Asks one question after the other over one connection, and writes down each answer. Arguments: https or tls, a port, the file of the CA."""
import http.client
import itertools
import socket
import ssl
import sys
import time

protocol, port, ca = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)

if protocol == "https":
    connection = http.client.HTTPSConnection("127.0.0.1", int(port), context=context)

    def ask(number):
        connection.request("GET", f"/{number}")
        return connection.getresponse().read().decode()

else:
    stream = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname="localhost")
    answers = stream.makefile("r")

    def ask(number):
        stream.sendall(f"line {number}\n".encode())
        return answers.readline().strip()


for number in itertools.count(1):
    print(ask(number), flush=True)
    time.sleep(0.025)
