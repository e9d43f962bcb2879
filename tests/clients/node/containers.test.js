// Containers through axios: the list with its statuses and pages, and downloads as a stream and as a buffer.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { test } from 'node:test';

import { act, create, http, run } from './support.js';

// The archive of one stored file, `data/notes.txt`, that holds CONTENT: the client has no library to make one.
const CONTENT = 'ahoy\n';
const ARCHIVE = Buffer.from(
  'UEsDBBQAAAAAAAAAIQCw0UHBBQAAAAUAAAAOAAAAZGF0YS9ub3Rlcy50eHRhaG95ClBLAQIUAxQAAAAAAAAAIQCw0UHBBQAAAAUAAAAOAAAAAAAAAAAAAACAAQAAAABkYXRhL25vdGVzLnR4dFBLBQYAAAAAAQABADwAAAAxAAAAAAA=',
  'base64',
);

async function withNotes(t) {
  const cuid = await create(t, {});
  const headers = { 'Content-Type': 'application/zip' };
  const { status, data } = await http.post(`/containers/${cuid}/upload-zip`, ARCHIVE, { headers });
  assert.equal(status, 200, JSON.stringify(data));
  return cuid;
}

test('the list of two statuses gives every such container once, page by page', async (t) => {
  const tag = `list-${randomUUID()}`;
  const running = [await run(t, { tags: [tag] }), await run(t, { tags: [tag] })];
  const paused = await run(t, { tags: [tag] });
  await act(paused, 'pause');
  await create(t, { tags: [tag] });

  const listed = [];
  let cursor = null;
  do {
    const params = { status: ['running', 'paused'].join(','), tag, limit: 2, ...(cursor && { cursor }) };
    const { status, data } = await http.get('/containers', { params });
    assert.equal(status, 200, JSON.stringify(data));
    assert.ok(data.containers.length >= 1 && data.containers.length <= 2);
    assert.equal(data.total, 3);
    listed.push(...data.containers.map((container) => container.cuid));
    cursor = data.next_cursor;
  } while (cursor);

  assert.deepEqual(listed, [paused, ...running.reverse()]);
});

test('a status that there is not is refused by its name', async () => {
  const { status, data } = await http.get('/containers', { params: { status: 'sleeping' } });
  assert.deepEqual([status, data.error, data.code, data.details.field], [400, 'validation_error', 'INVALID_QUERY', 'status']);
});

test('a file is downloaded as a stream', async (t) => {
  const cuid = await withNotes(t);
  const folder = await mkdtemp(join(tmpdir(), 'berth-client-'));
  t.after(() => rm(folder, { recursive: true }));
  const params = { path: 'data/notes.txt' };
  const response = await http.get(`/containers/${cuid}/download`, { params, responseType: 'stream' });
  assert.equal(response.status, 200);
  await pipeline(response.data, createWriteStream(join(folder, 'notes.txt')));
  assert.equal(await readFile(join(folder, 'notes.txt'), 'utf8'), CONTENT);
});

test('a folder is downloaded as an archive in a buffer', async (t) => {
  const cuid = await withNotes(t);
  const params = { path: '/' };
  const response = await http.get(`/containers/${cuid}/download-zip`, { params, responseType: 'arraybuffer' });
  assert.equal(response.status, 200);
  assert.equal(response.headers['content-type'], 'application/zip');
  const archive = Buffer.from(response.data);
  assert.equal(archive.subarray(0, 4).toString('latin1'), 'PK\x03\x04');
  // The record that ends every whole archive is there, and counts the file and perhaps its folder.
  const end = archive.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  assert.ok(end > 0 && archive.readUInt16LE(end + 10) >= 1);
  assert.ok(archive.includes('data/notes.txt'));
});
