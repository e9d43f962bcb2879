// The guide's one-shot executor through ws: it speaks at once, says `exit` 100 ms later, and collects what comes.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import WebSocket from 'ws';

import { AUTHORIZATION, BASE_URL, NOBODY, PATIENCE, create, run } from './support.js';

// How long the executor waits between its command and its `exit`, in milliseconds.
const EXIT_AFTER = 100;

// A main process that never stops talking; none of it may get into a command's output.
const NOISY = { command: ['sh', '-c', 'while :; do echo noise; echo noise >&2; sleep 0.05; done'] };

const connect = (cuid) =>
  new WebSocket(`${BASE_URL.replace('http://', 'ws://')}/ws/${cuid}`, { headers: AUTHORIZATION, handshakeTimeout: PATIENCE });

// Runs a command as the guide does; the output is bytes, and `encodings` are those that its frames named.
function execute(cuid, command) {
  return new Promise((resolve, reject) => {
    const socket = connect(cuid);
    const late = setTimeout(() => { socket.terminate(); reject(new Error(`no exit of: ${command}`)); }, PATIENCE);
    socket.on('close', () => clearTimeout(late));
    socket.on('error', reject);
    const chunks = { stdout: [], stderr: [] };
    const encodings = new Set();
    const type = (data) => socket.send(JSON.stringify({ type: 'stdin', data, encoding: 'utf8' }));
    socket.on('open', () => {
      type(`${command}\n`);
      setTimeout(() => type('exit\n'), EXIT_AFTER);
    });
    socket.on('message', (text) => {
      const frame = JSON.parse(text.toString());
      if (frame.type in chunks) {
        encodings.add(frame.encoding);
        chunks[frame.type].push(Buffer.from(frame.data, frame.encoding));
      } else if (frame.type === 'exit') {
        socket.close();
        resolve({ code: frame.code, stdout: Buffer.concat(chunks.stdout), stderr: Buffer.concat(chunks.stderr), encodings });
      } else if (frame.type === 'error') {
        socket.close();
        reject(new Error(frame.error.message));
      }
    });
  });
}

// The answer to an upgrade that is refused.
function refusal(cuid) {
  return new Promise((resolve, reject) => {
    const socket = connect(cuid);
    socket.on('open', () => { socket.terminate(); reject(new Error('the upgrade was not refused')); });
    socket.on('error', reject);
    socket.on('unexpected-response', async (_request, response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve({ status: response.statusCode, requestId: response.headers['x-request-id'], body: JSON.parse(text) });
    });
  });
}

test('a command gets its own output and nothing else, while the main process prints', async (t) => {
  const { code, stdout, stderr } = await execute(await run(t, NOISY), 'echo hi');
  assert.deepEqual([stdout.toString(), stderr.toString(), code], ['hi\n', '', 0]);
});

test('errors come apart from output, and the exit code is the last command’s', async (t) => {
  const cuid = await run(t, NOISY);
  const { code, stdout, stderr } = await execute(cuid, "sh -c 'echo fine; echo broken >&2; exit 3'");
  assert.deepEqual([stdout.toString(), stderr.toString(), code], ['fine\n', 'broken\n', 3]);
});

test('a command that ends the shell itself gives its exit code too', async (t) => {
  const { code, stdout } = await execute(await run(t, {}), 'echo bye; exit 5');
  assert.deepEqual([stdout.toString(), code], ['bye\n', 5]);
});

test('a command that takes longer than the wait for exit is not cut short', async (t) => {
  const { code, stdout } = await execute(await run(t, {}), 'sleep 1; echo late');
  assert.deepEqual([stdout.toString(), code], ['late\n', 0]);
});

test('output that is no text comes as base64, byte for byte', async (t) => {
  const { stdout, encodings } = await execute(await run(t, {}), "printf '\\377\\376\\000\\001\\200'");
  assert.deepEqual([...stdout], [0xff, 0xfe, 0x00, 0x01, 0x80]);
  assert.ok(encodings.has('base64'));
});

test('emoji and accents come as text', async (t) => {
  const { stdout, encodings } = await execute(await run(t, {}), "printf '%s\\n' 'héllo 🚢 👩‍🚀'");
  assert.equal(stdout.toString(), 'héllo 🚢 👩‍🚀\n');
  assert.deepEqual([...encodings], ['utf8']);
});

test('a long output arrives whole and before its exit', async (t) => {
  const { code, stdout } = await execute(await run(t, {}), 'seq 1 50000');
  assert.equal(stdout.toString(), Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join(''));
  assert.equal(code, 0);
});

test('an unknown container refuses the upgrade with the contract’s error body', async () => {
  const { status, requestId, body } = await refusal(NOBODY);
  assert.deepEqual([status, body.status, body.error, body.code], [404, 404, 'not_found', 'CONTAINER_NOT_FOUND']);
  assert.equal(body.request_id, requestId);
  await assert.rejects(execute(NOBODY, 'echo hi'), /404/);
});

test('a container that does not run refuses the upgrade with its status', async (t) => {
  const { status, body } = await refusal(await create(t, {}));
  assert.deepEqual([status, body.error, body.code, body.details.status], [422, 'state_error', 'INVALID_STATE', 'created']);
});
