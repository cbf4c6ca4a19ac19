#!/usr/bin/env -S node --liftoff-only
'use strict';
/* `solc` as a command, over the WebAssembly compiler that npm installs.
 *
 * Brownie runs a native compiler and npm has none; the `solcjs` command takes other options. This one
 * understands what Brownie (py-solc-x) and zkmarket/chain/compiler.py call:
 *
 *     solc --version
 *     solc --standard-json [--allow-paths DIR,DIR]  < input.json  > output.json
 *
 * Imports are read below the working directory and the allowed folders, nowhere else.
 * --liftoff-only: V8's optimising WebAssembly compiler costs more than it saves in a run this short.
 */
const fs = require('fs');
const path = require('path');

const PACKAGE = path.resolve(path.dirname(fs.realpathSync(__filename)), '..', 'node_modules', 'solc');

function fail(message) {
  process.stderr.write(message + '\n');
  process.exit(1);
}

function parse(words) {
  const options = { version: false, standardJson: false, allowed: [process.cwd()] };
  while (words.length) {
    const word = words.shift();
    if (word === '--version') options.version = true;
    else if (word === '--standard-json') options.standardJson = true;
    else if (word === '--allow-paths') options.allowed.push(...(words.shift() || '').split(',').filter(Boolean));
    else fail(`unrecognised option '${word}'`); // the words that py-solc-x looks for
  }
  options.allowed = options.allowed.filter((folder) => fs.existsSync(folder)).map((folder) => fs.realpathSync(folder));
  return options;
}

/* Version and commit. They are only in the 8 MB of soljson.js: loaded once, kept beside it. */
function version() {
  const kept = path.join(PACKAGE, '.version');
  if (fs.existsSync(kept)) return fs.readFileSync(kept, 'utf8');
  const found = require(PACKAGE).version();
  try {
    const fresh = `${kept}.${process.pid}`;
    fs.writeFileSync(fresh, found);
    fs.renameSync(fresh, kept);
  } catch (error) { /* a read-only tree is only slower */ }
  return found;
}

function reader(allowed) {
  return (name) => {
    const file = path.resolve(name);
    if (!fs.existsSync(file) || !fs.statSync(file).isFile()) return { error: `no such file: ${file}` };
    const real = fs.realpathSync(file);
    if (!allowed.some((folder) => real.startsWith(folder + path.sep))) return { error: 'outside of the allowed folders' };
    return { contents: fs.readFileSync(real, 'utf8') };
  };
}

function writeAll(text) { // process.exit would cut what is still in a pipe's buffer
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length;) {
    try {
      done += fs.writeSync(1, bytes, done);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

const options = parse(process.argv.slice(2));
if (!fs.existsSync(path.join(PACKAGE, 'package.json'))) fail(`no solc in ${PACKAGE}: run "npm ci --ignore-scripts"`);
if (options.version) {
  writeAll(`solc, the solidity compiler commandline interface\nVersion: ${version()}\n`);
} else if (options.standardJson) {
  const given = JSON.parse(fs.readFileSync(0, 'utf8'));
  // no hash of the sources' text in the code, unless asked for: a comment must not change what is on chain. Brownie
  // has no setting for it
  if (given.settings) given.settings.metadata ??= { bytecodeHash: 'none', appendCBOR: false };
  writeAll(require(PACKAGE).compile(JSON.stringify(given), { import: reader(options.allowed) }) + '\n');
} else {
  fail('wanted --version or --standard-json');
}
process.exit(0);
