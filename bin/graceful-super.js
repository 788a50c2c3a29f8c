#!/usr/bin/env node
// CommonJS, as is what it loads: see build.mjs
require('../dist/cli/entry.cjs');
