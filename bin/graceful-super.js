#!/usr/bin/env node
// Signals first: one may come while the rest is still being loaded, and most of them kill by default.
import { holdSignals } from '../dist/master/signals.js';

holdSignals();
const { main } = await import('../dist/cli/main.js');
await main(process.argv.slice(2));
