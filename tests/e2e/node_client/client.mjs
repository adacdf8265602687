// A client that shares no code with the device: @grpc/grpc-js and the .proto files.
// It attaches, writes pages of its own, reads them back, TRIMs, FLUSHes, fills the
// device until it refuses, and recovers. Every step asserts what the documentation says.
//
//   node client.mjs 127.0.0.1:7700
//
// `keepCase` matters: without it field names change and unknown ones are silently dropped.
// 64-bit numbers come as strings (`longs: String`): a JavaScript number cannot hold them.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import protobuf from 'protobufjs';

const here = dirname(fileURLToPath(import.meta.url));
const protos = join(here, '..', '..', '..', 'proto');
const [address] = process.argv.slice(2);
if (!address) {
  console.error('usage: node client.mjs HOST:PORT');
  process.exit(2);
}

const definition = loader.loadSync(
  ['device', 'memory'].map((name) => `cramwire/v1/${name}.proto`),
  { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true, includeDirs: [protos] },
);
const wire = grpc.loadPackageDefinition(definition).cramwire.v1;
const size = { 'grpc.max_receive_message_length': 8 << 20, 'grpc.max_send_message_length': 8 << 20 };
const device = new wire.DeviceService(address, grpc.credentials.createInsecure(), size);
const memory = new wire.MemoryService(address, grpc.credentials.createInsecure(), size);

const types = new protobuf.Root();
types.resolvePath = (_origin, target) => (target.startsWith('cramwire/') ? join(protos, target) : target);
types.loadSync([join(here, 'rpc_status.proto'), 'cramwire/v1/errors.proto'], { keepCase: true });

const call = (client, method, request) =>
  new Promise((resolve, reject) => {
    client[method](request, { deadline: Date.now() + 20_000 }, (error, reply) =>
      error ? reject(error) : resolve(reply));
  });

// What a refusal says: the gRPC code, ErrorInfo's reason, and the typed detail beside it.
function readRefusal(error) {
  const [packed] = error.metadata?.get('grpc-status-details-bin') ?? [];
  const refusal = { code: grpc.status[error.code], message: error.details };
  if (!packed) return refusal;
  for (const detail of types.lookupType('google.rpc.Status').decode(packed).details) {
    const type = types.lookupType(detail.type_url.split('/').pop());
    const value = type.toObject(type.decode(detail.value), { longs: String, defaults: true });
    if (type.name === 'ErrorInfo') Object.assign(refusal, { reason: value.reason, domain: value.domain });
    else refusal[type.name] = value;
  }
  return refusal;
}

async function refused(client, method, request) {
  const error = await call(client, method, request).then(
    () => assert.fail(`${method} should have been refused`),
    (failure) => failure,
  );
  const refusal = readRefusal(error);
  assert.equal(refusal.domain, 'cramulator', refusal.message);
  return refusal;
}

const PAGE = 4096;
const dpa = (page) => String(page * PAGE);
const span = (first, count) => Array.from({ length: count }, (_, index) => dpa(first + index));
const passed = [];
async function step(name, body) {
  await body();
  passed.push(name);
  console.log(`ok ${passed.length} - ${name}`);
}

let identity;
let ref; // session and generation: what every later call carries
let stream;
const items = [];
let arrived = () => {};

// Waits until the event stream has brought one that satisfies `wanted`.
function event(wanted) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no such event; got ${JSON.stringify(items)}`)), 15_000);
    arrived = () => {
      const found = items.find((item) => item.event && wanted(item.event));
      if (found) {
        clearTimeout(timer);
        arrived = () => {};
        resolve(found.event);
      }
    };
    arrived();
  });
}

await step('identify tells sizes, limits and watermarks', async () => {
  identity = await call(device, 'Identify', {});
  assert.equal(identity.page_bytes, PAGE);
  assert.match(identity.generation, /^[0-9a-f]{16}$/);
  assert.ok(BigInt(identity.logical_capacity_bytes) > BigInt(identity.physical_capacity_bytes));
  assert.ok(identity.limits.pages_per_request >= 256);
});

await step('attach gives a session and an empty region', async () => {
  const reply = await call(device, 'Attach', { host: 'node-js', logical_bytes: identity.logical_capacity_bytes });
  assert.equal(reply.generation, identity.generation);
  assert.equal(reply.telemetry.region.host, 'node-js');
  assert.equal(reply.telemetry.region.stored_pages, '0');
  ref = { session: reply.session, generation: reply.generation };
});

await step('the event stream begins with where it begins', async () => {
  stream = device.WatchEvents(ref);
  stream.on('data', (item) => {
    items.push(item);
    arrived();
  });
  stream.on('error', (error) => assert.equal(error.code, grpc.status.CANCELLED, String(error)));
  await new Promise((resolve) => stream.once('data', resolve));
  assert.equal(items[0].item, 'started');
});

const text = Buffer.concat(
  Array.from({ length: 4 }, (_, index) => Buffer.alloc(PAGE, `page ${index} of a letter home; `)),
);
await step('pages are read back as they were written', async () => {
  const written = await call(memory, 'Write', { ...ref, dpas: span(0, 4), data: text });
  assert.equal(written.accepted_pages, 4);
  assert.ok(BigInt(written.device_ns) > 0n);
  const read = await call(memory, 'Read', { ...ref, dpas: [dpa(3), dpa(1)] });
  assert.ok(read.data.equals(Buffer.concat([text.subarray(3 * PAGE), text.subarray(PAGE, 2 * PAGE)])));
});

await step('an open call carries commands, and answers in their order', async () => {
  const open = memory.Transfer();
  const answers = [];
  const ended = new Promise((resolve, reject) => open.on('end', resolve).on('error', reject));
  open.on('data', (answer) => answers.push(answer));
  open.write({ write: { ...ref, dpas: span(0, 4), data: text } });
  open.write({ read: { ...ref, dpas: ['1'] } });
  open.write({ read: { ...ref, dpas: span(1, 2) } });
  open.end();
  await ended;
  assert.deepEqual(answers.map(({ answer }) => answer), ['write', 'refused', 'read']);
  assert.equal(answers[0].write.accepted_pages, 4);
  const status = types.lookupType('google.rpc.Status').decode(answers[1].refused);
  assert.equal(grpc.status[status.code], 'INVALID_ARGUMENT');
  assert.ok(answers[2].read.data.equals(text.subarray(PAGE, 3 * PAGE)));
});

await step('compressible pages take less media than they hold', async () => {
  const { telemetry } = await call(device, 'GetTelemetry', ref);
  assert.equal(telemetry.stored_pages, '4');
  assert.ok(telemetry.ratio_milli > 4000, `ratio ${telemetry.ratio_milli}`);
  assert.equal(
    BigInt(telemetry.media_used_bytes) + BigInt(telemetry.media_free_bytes),
    BigInt(telemetry.physical_capacity_bytes),
  );
});

await step('trimmed pages read as zeros and flush gives their media back', async () => {
  const trimmed = await call(memory, 'Trim', { ...ref, ranges: [{ start: dpa(0), length: dpa(4) }] });
  assert.equal(trimmed.trimmed_pages, '4');
  await call(memory, 'Flush', ref);
  const read = await call(memory, 'Read', { ...ref, dpas: span(0, 4) });
  assert.ok(read.data.equals(Buffer.alloc(4 * PAGE)));
  const { telemetry } = await call(device, 'GetTelemetry', ref);
  assert.equal(telemetry.media_used_bytes, '0');
});

await step('bad requests are refused with their reasons and change nothing', async () => {
  const data = Buffer.alloc(PAGE, 1);
  const table = [
    ['NOT_ALIGNED', 'INVALID_ARGUMENT', 'Write', { dpas: ['100'], data }],
    ['DATA_LENGTH', 'INVALID_ARGUMENT', 'Write', { dpas: [dpa(0)], data: data.subarray(1) }],
    ['EMPTY_REQUEST', 'INVALID_ARGUMENT', 'Read', { dpas: [] }],
    ['OVERLAPPING', 'INVALID_ARGUMENT', 'Read', { dpas: [dpa(1), dpa(1)] }],
    ['OUT_OF_RANGE', 'OUT_OF_RANGE', 'Read', { dpas: ['18446744073709547520'] }],
    ['OUT_OF_RANGE', 'OUT_OF_RANGE', 'Trim', { ranges: [{ start: '18446744073709547520', length: dpa(2) }] }],
    ['TOO_MANY', 'INVALID_ARGUMENT', 'Read', { dpas: span(0, identity.limits.pages_per_request + 1) }],
    ['UNKNOWN_SESSION', 'NOT_FOUND', 'Read', { session: 'nobody', dpas: [dpa(0)] }],
    ['STALE_GENERATION', 'FAILED_PRECONDITION', 'Read', { generation: '0123456789abcdef', dpas: [dpa(0)] }],
  ];
  for (const [reason, code, method, request] of table) {
    const refusal = await refused(memory, method, { ...ref, ...request });
    assert.deepEqual([refusal.reason, refusal.code], [reason, code], refusal.message);
  }
  const { telemetry } = await call(device, 'GetTelemetry', ref);
  assert.equal(telemetry.media_used_bytes, '0');
});

let next = 0; // the first page that is not written
let kept; // the last batch that was taken whole
await step('a full device says how many pages it took', async () => {
  const batch = 64;
  for (;;) {
    const data = randomBytes(batch * PAGE);
    const request = { ...ref, dpas: span(next, batch), data };
    const answer = await call(memory, 'Write', request).then(() => undefined, readRefusal);
    if (answer) {
      assert.deepEqual([answer.reason, answer.code], ['NO_MORE_WRITES', 'RESOURCE_EXHAUSTED']);
      const { accepted_pages: accepted, refused_dpa: at, telemetry } = answer.WriteRefused;
      assert.ok(accepted < batch);
      assert.equal(at, dpa(next + accepted));
      assert.equal(telemetry.no_more_writes, true);
      const read = await call(memory, 'Read', { ...ref, dpas: span(next, batch) });
      assert.ok(read.data.subarray(0, accepted * PAGE).equals(data.subarray(0, accepted * PAGE)));
      assert.ok(read.data.subarray(accepted * PAGE).equals(Buffer.alloc((batch - accepted) * PAGE)));
      next += accepted;
      return;
    }
    kept = { first: next, data };
    next += batch;
  }
});

await step('pages that were taken are still whole', async () => {
  const read = await call(memory, 'Read', { ...ref, dpas: span(kept.first, 64) });
  assert.ok(read.data.equals(kept.data));
});

await step('watermarks and no-more-writes came as events, in order', async () => {
  const entered = await event((one) => one.no_more_writes_entered);
  const crossed = items.filter((item) => item.event?.watermark_crossed).map((item) => item.event);
  assert.equal(crossed.at(-1).watermark_crossed.to_level, 'WATERMARK_LEVEL_CRITICAL');
  assert.ok(BigInt(crossed.at(-1).sequence) < BigInt(entered.sequence));
  const sequences = items.filter((item) => item.event).map((item) => BigInt(item.event.sequence));
  assert.deepEqual(sequences, [...sequences].sort((a, b) => (a < b ? -1 : 1)));
});

await step('after TRIM and FLUSH the device takes writes again', async () => {
  await call(memory, 'Trim', { ...ref, ranges: [{ start: dpa(0), length: dpa(next) }] });
  await call(memory, 'Flush', ref);
  await event((one) => one.no_more_writes_left);
  const { telemetry } = await call(device, 'GetTelemetry', ref);
  assert.equal(telemetry.no_more_writes, false);
  assert.equal(telemetry.media_used_bytes, '0');
  await call(memory, 'Write', { ...ref, dpas: [dpa(0)], data: randomBytes(PAGE) });
});

await step('detach gives everything back and ends the session', async () => {
  stream.cancel();
  const { released_media_bytes: released } = await call(device, 'Detach', ref);
  assert.ok(BigInt(released) >= 4096n);
  assert.equal((await refused(memory, 'Read', { ...ref, dpas: [dpa(0)] })).reason, 'SESSION_ENDED');
});

device.close();
memory.close();
console.log(`1..${passed.length}`);
