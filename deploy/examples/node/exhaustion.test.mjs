// What a suite in Node looks like: a driver under test, a real device, and a fault that ends with its block.
//
//   npm ci && node --test

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import grpc from '@grpc/grpc-js';
import { startDevice } from './device.mjs';

const PAGE = 4096;

// Stands for your own code: keeps one page on the device, or says that it could not.
class Driver {
  constructor({ device, memory }) {
    Object.assign(this, { device, memory });
  }

  async attach(host) {
    const { session, generation } = await this.device.Attach({ host, logical_bytes: String(64 * PAGE) });
    this.ref = { session, generation };
  }

  async store(page, data) {
    const request = { ...this.ref, dpas: [String(page * PAGE)], data };
    return this.memory.Write(request).then(
      () => 'stored',
      (error) => {
        if (error.code === grpc.status.RESOURCE_EXHAUSTED) return 'no more writes';
        throw error;
      },
    );
  }

  async load(page) {
    return (await this.memory.Read({ ...this.ref, dpas: [String(page * PAGE)] })).data;
  }
}

let device;
let driver;

before(async () => {
  device = await startDevice({ physical: '1MiB' });
  driver = new Driver(device);
  await driver.attach('node-driver');
});

after(async () => {
  assert.equal(await device.stop(), 0, device.log());
});

test('the driver survives exhaustion', async () => {
  const old = randomBytes(PAGE);
  assert.equal(await driver.store(0, old), 'stored');

  await device.exhausted(async () => {
    assert.equal(await driver.store(1, randomBytes(PAGE)), 'no more writes');
    const { telemetry, faults } = await device.oracle.GetStatus({});
    assert.equal(telemetry.no_more_writes, true);
    assert.deepEqual(faults.map(({ fault }) => fault.kind), ['exhaustion']);
  });

  // The refused write changed nothing, and the device takes writes again.
  assert.deepEqual(await driver.load(0), old);
  assert.deepEqual(await driver.load(1), Buffer.alloc(PAGE));
  assert.equal(await driver.store(1, randomBytes(PAGE)), 'stored');
  const { counters } = await device.oracle.GetStatus({});
  assert.ok(Number(counters.refused_pages) > 0);
});

test('a fault is cleared even if the test under it fails', async () => {
  const slow = { latency: { wall_ns: String(1_000_000) } };
  await assert.rejects(device.faulty(slow, () => Promise.reject(new Error('the test failed'))), /test failed/);
  assert.deepEqual((await device.faults.ListFaults({})).faults, []);
});
