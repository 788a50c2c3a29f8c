// Chat: a room over WebSocket, whose members stay in it while its code is redeployed.
//
//   graceful-super start ./docs/examples/chat-worker.js        or plainly: node docs/examples/chat-worker.js
//   http://127.0.0.1:48880/?name=ann in a browser; "/nick bob" renames
//
// During a reload, or with --workers 3, the room is in several processes. So the room is a file: everybody appends to it, and
// each member knows how far it has seen. That goes with it to the next worker, so nobody misses a line or sees one twice.
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { generation, isAdopted, isHandedOff, onDrain } from 'graceful-super';
import { handoffWebSockets } from 'graceful-super/ws';
import { WebSocketServer } from 'ws';

const host = process.env.CHAT_HOST ?? '127.0.0.1';
const port = Number(process.env.CHAT_PORT ?? 48880);
const file = process.env.CHAT_FILE ?? path.join(os.tmpdir(), `chat-${process.ppid}.jsonl`); // the same in every worker
const log = (...words) => console.log(`[chat ${process.pid}, generation ${generation}]`, ...words);

const room = fs.openSync(file, 'a+', 0o600); // appends whole lines, whoever else does so
const members = new Map(); // by WebSocket: { name, seen }

/** A line for everybody. */
function say(line) {
  fs.writeSync(room, `${JSON.stringify(line)}\n`);
  deliver();
}

function deliver() {
  for (const [webSocket, member] of members) catchUp(webSocket, member);
}

/** Sends a member the lines that it has not seen. */
function catchUp(webSocket, member) {
  const news = Buffer.alloc(fs.fstatSync(room).size - member.seen);
  fs.readSync(room, news, 0, news.length, member.seen);
  const end = news.lastIndexOf('\n') + 1; // somebody may be in the middle of a line
  member.seen += end;
  for (const line of news.toString('utf8', 0, end).split('\n').slice(0, -1)) webSocket.send(line);
}

function hear(member, text) {
  const { name } = member;
  const [, nick] = /^\/nick (\S+)$/.exec(text) ?? [];
  if (!nick) return say({ name, text });
  member.name = nick;
  say({ name, event: `is now ${nick}` });
}

const server = http.createServer((_request, response) => response.setHeader('Content-Type', 'text/html; charset=utf-8').end(page));
const webSockets = new WebSocketServer({ server });

webSockets.on('connection', (webSocket, request) => {
  const member = { name: new URL(request.url, 'http://chat').searchParams.get('name') || 'guest', seen: 0 };
  members.set(webSocket, member);
  webSocket.on('message', (data) => hear(member, String(data)));
  webSocket.on('error', (error) => log(member.name, error.message));
  webSocket.on('close', () => {
    members.delete(webSocket);
    log(member.name, isHandedOff(webSocket) ? 'moves on' : 'left');
    if (!isHandedOff(webSocket)) say({ name: member.name, event: 'left' });
  });
  if (!isAdopted(webSocket)) say({ name: member.name, event: 'joined' });
});

handoffWebSockets(webSockets, {
  export: (webSocket) => members.get(webSocket),
  adopt(webSocket, state) {
    const member = Object.assign(members.get(webSocket), state);
    log(member.name, 'goes on here');
    catchUp(webSocket, member); // what was said on the way
  },
});

fs.watch(file, { persistent: false }, deliver); // what other workers append
server.listen(port, host, () => log('listening on', `${host}:${server.address().port}`));

onDrain(({ reason }) => {
  if (reason !== 'stop') return;
  for (const webSocket of members.keys()) webSocket.close(1001, 'the room closes');
  fs.rmSync(file, { force: true });
});

const page = `<!doctype html>
<title>Chat</title>
<ul id="lines"></ul>
<form id="form"><input id="text" autofocus autocomplete="off" placeholder="say something, or /nick NAME"></form>
<script>
  const socket = new WebSocket(location.href.replace('http', 'ws'));
  const show = (text) => lines.appendChild(document.createElement('li')).textContent = text;
  socket.onmessage = ({ data }) => {
    const { name, text, event } = JSON.parse(data);
    show(event ? name + ' ' + event : name + ': ' + text);
  };
  socket.onclose = () => show('disconnected');
  form.onsubmit = () => {
    socket.send(text.value);
    text.value = '';
    return false;
  };
</script>
`;
