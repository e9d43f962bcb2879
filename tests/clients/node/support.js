// What the tests share: where the server is, and containers that are gone after their test. It makes no claim about the
// server; the tests do.

import assert from 'node:assert/strict';

import axios from 'axios';

export const BASE_URL = process.env.BASE_URL;
export const AUTHORIZATION = {
  Authorization: `Basic ${Buffer.from(`${process.env.APP_USER}:${process.env.APP_PASS}`).toString('base64')}`,
};

// How long an answer, or a whole terminal, may take, in milliseconds.
export const PATIENCE = 30_000;

// A well-formed cuid that no container has.
export const NOBODY = 'c00000000-0000-4000-8000-000000000000';

// Answers with any status; the tests look at it.
export const http = axios.create({
  baseURL: BASE_URL,
  headers: AUTHORIZATION,
  timeout: PATIENCE,
  validateStatus: () => true,
});

// A new container, which is deleted when the test `t` ends; returns its cuid.
export async function create(t, specification) {
  const { status, data } = await http.post('/containers', { image: process.env.BUSYBOX_IMAGE, ...specification });
  assert.equal(status, 201, JSON.stringify(data));
  t.after(async () => {
    const deleted = await http.delete(`/containers/${data.cuid}`, { params: { force: true } });
    assert.equal(deleted.status, 200, JSON.stringify(deleted.data));
  });
  return data.cuid;
}

// A control action that succeeds.
export async function act(cuid, action) {
  const { status, data } = await http.post(`/containers/${cuid}/${action}`);
  assert.equal(status, 200, JSON.stringify(data));
}

// A new container that runs; returns its cuid.
export async function run(t, specification) {
  const cuid = await create(t, { command: ['sleep', '1000'], ...specification });
  await act(cuid, 'start');
  return cuid;
}
