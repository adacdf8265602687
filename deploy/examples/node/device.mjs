// A device for a test suite in Node: cxldevd as a child process, and both of its gRPC sides.
//
//   const device = await startDevice({ physical: '1MiB' });
//   await device.exhausted(async () => { ... });
//   await device.stop();
//
// `keepCase` matters: without it field names change, and unknown ones are silently dropped.
// 64-bit numbers come as strings (`longs: String`): a JavaScript number cannot hold them.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const START_DEADLINE_MS = 30_000;
const CALL_DEADLINE_MS = 10_000;

// In this repository; in a suite of your own: the folder above the Python package `cramwire`.
const protos =
  process.env.CRAMWIRE_PROTOS ?? join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', 'proto');
const definition = loader.loadSync(
  ['device', 'memory', 'operator'].map((name) => `cramwire/v1/${name}.proto`),
  { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true, includeDirs: [protos] },
);
const wire = grpc.loadPackageDefinition(definition).cramwire.v1;
const messages = { 'grpc.max_receive_message_length': 8 << 20, 'grpc.max_send_message_length': 8 << 20 };

// A client whose methods return promises: `await clientOf(wire.DeviceService, address).Identify({})`.
function clientOf(service, address) {
  const stub = new service(address, grpc.credentials.createInsecure(), messages);
  const call = (method) => (request) =>
    new Promise((resolve, reject) => {
      stub[method](request, { deadline: Date.now() + CALL_DEADLINE_MS }, (error, reply) =>
        error ? reject(error) : resolve(reply));
    });
  const unary = Object.values(service.service).filter((method) => !method.responseStream);
  const methods = unary.map(({ path }) => path.split('/').pop());
  return { ...Object.fromEntries(methods.map((name) => [name, call(name)])), close: () => stub.close() };
}

// Starts cxldevd on free ports and waits until it serves. `settings`: its flags, without the dashes.
export async function startDevice(settings = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'cxldevd-'));
  const readyFile = join(folder, 'ready.json');
  const anyPort = { listen: '127.0.0.1:0', operator: '127.0.0.1:0', metrics: '127.0.0.1:0' };
  const given = Object.entries({ ...anyPort, ...settings, 'ready-file': readyFile });
  const child = spawn('cxldevd', given.flatMap(([name, value]) => [`--${name}`, String(value)]), {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (log += text));
  let failed; // cxldevd is not installed
  child.on('error', (error) => (failed = error));

  const until = Date.now() + START_DEADLINE_MS;
  let facts; // pid, address, operator_address, metrics_address, generation
  while (!facts) {
    facts = await readFile(readyFile, 'utf8').then(JSON.parse, () => undefined);
    if (!facts && (failed || child.exitCode !== null || Date.now() > until)) {
      child.kill('SIGKILL');
      throw new Error(`cxldevd does not serve: ${failed ?? log}`);
    }
    await wait(20);
  }

  const device = clientOf(wire.DeviceService, facts.address);
  const memory = clientOf(wire.MemoryService, facts.address);
  const faults = clientOf(wire.FaultService, facts.operator_address);
  const oracle = clientOf(wire.OracleService, facts.operator_address);
  return {
    ...facts,
    device, // what hosts see
    memory,
    faults, // what the operator sees
    oracle,
    log: () => log,

    // Arms a fault, runs the body, and clears the fault whatever became of the body.
    async faulty(fault, body) {
      const { fault_id } = await faults.InjectFault({ fault });
      try {
        return await body();
      } finally {
        await faults.ClearFaults({ fault_id });
      }
    },
    exhausted(body) {
      return this.faulty({ exhaustion: { share_milli: 1000 } }, body);
    },

    // SIGTERM, and wait until it has drained. Its exit code.
    async stop() {
      for (const client of [device, memory, faults, oracle]) client.close();
      const ended = child.exitCode === null ? once(child, 'exit') : undefined;
      child.kill('SIGTERM');
      await ended;
      await rm(folder, { recursive: true });
      return child.exitCode;
    },
  };
}
