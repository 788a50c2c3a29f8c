import { createServer } from 'node:http';

const greeting: string = 'hello';
createServer((_request, response) => response.end(greeting)).listen(0, '127.0.0.1');
