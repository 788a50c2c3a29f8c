// Loaded before anything else by `--require`: writes down when what happens in this process, a line of JSON each.
const { ChildProcess } = require('node:child_process');
const { appendFileSync } = require('node:fs');
const { Server } = require('node:net');

const mark = (what) => appendFileSync(process.env.BENCH_MARKS, `${JSON.stringify({ pid: process.pid, what, at: Number(process.hrtime.bigint()) / 1e6 })}\n`);
mark('booted');
const { spawn } = ChildProcess.prototype;
ChildProcess.prototype.spawn = function (...args) {
  mark('spawns');
  const result = spawn.apply(this, args);
  mark('spawned');
  return result;
};
const { listen } = Server.prototype;
Server.prototype.listen = function (...args) {
  mark('listens');
  this.once('listening', () => mark('listening'));
  return listen.apply(this, args);
};
