#!/usr/bin/env node
// CommonJS, as is what it loads: see src/build.mjs
require('../dist/cli/entry.cjs');
