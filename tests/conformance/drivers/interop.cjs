// node interop.cjs HOST:PORT
//
// gRPC's interoperability cases by @grpc/grpc-js. Prints {case: "ok" or what was wrong}. NODE_PATH names where the
// packages are; messages are protobufjs's, from interop.proto beside this file.
'use strict';

const assert = require('assert');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const definition = loader.loadSync(path.join(__dirname, 'interop.proto'), { keepCase: true });
const { TestService, UnimplementedService } = grpc.loadPackageDefinition(definition).grpc.testing;
const BIG = 314159;
const SIZES = [31415, 9, 2653, 58979];
const SPECIAL = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';

const zeros = (size) => ({ body: Buffer.alloc(size) });
const deadline = (seconds = 60) => ({ deadline: Date.now() + seconds * 1000 });

// A unary or client-streaming call as a promise of {error, answer, initial, trailing}.
function once(start) {
  return new Promise((resolve) => {
    const found = {};
    const call = start((error, answer) => resolve(Object.assign(found, { error, answer, call })));
    call.on('metadata', (metadata) => { found.initial = metadata; });
    call.on('status', (status) => { found.trailing = status.metadata; });
  });
}

// A stream as a promise of {error, sizes, initial, trailing}; `react` is called with each answer.
function all(call, react = () => {}) {
  return new Promise((resolve) => {
    const found = { sizes: [], error: null };
    call.on('metadata', (metadata) => { found.initial = metadata; });
    call.on('data', (answer) => {
      found.sizes.push(answer.payload.body.length);
      react(found.sizes.length);
    });
    call.on('error', (error) => { found.error = error; });
    call.on('status', (status) => {
      found.trailing = status.metadata;
      setImmediate(() => resolve(found));
    });
  });
}

const large = (client) => once((done) =>
  client.UnaryCall({ response_size: BIG, payload: zeros(271828) }, metadata(), deadline(), done));

function metadata() {
  const fields = new grpc.Metadata();
  fields.set('x-grpc-test-echo-initial', 'test_initial_metadata_value');
  fields.set('x-grpc-test-echo-trailing-bin', Buffer.from([0xab, 0xab, 0xab]));
  return fields;
}

function checkMetadata(found) {
  assert.deepStrictEqual(found.initial.get('x-grpc-test-echo-initial'), ['test_initial_metadata_value']);
  assert.deepStrictEqual(found.trailing.get('x-grpc-test-echo-trailing-bin'), [Buffer.from([0xab, 0xab, 0xab])]);
}

async function fails(promise, code, details) {
  const { error } = await promise;
  assert.ok(error, 'the call did not fail');
  assert.strictEqual(error.code, code);
  if (details !== undefined) assert.strictEqual(error.details, details);
}

const cases = {
  async empty_unary(client) {
    const { error, answer } = await once((done) => client.EmptyCall({}, deadline(), done));
    assert.ifError(error);
    assert.deepStrictEqual({ ...answer }, {});
  },
  async large_unary(client) {
    const { error, answer } = await large(client);
    assert.ifError(error);
    assert.ok(answer.payload.body.equals(Buffer.alloc(BIG)));
  },
  async client_streaming(client) {
    const { error, answer } = await once((done) => {
      const call = client.StreamingInputCall(deadline(), done);
      for (const size of [27182, 8, 1828, 45904]) call.write({ payload: zeros(size) });
      call.end();
      return call;
    });
    assert.ifError(error);
    assert.strictEqual(answer.aggregated_payload_size, 74922);
  },
  async server_streaming(client) {
    const found = await all(
      client.StreamingOutputCall({ response_parameters: SIZES.map((size) => ({ size })) }, deadline()));
    assert.ifError(found.error);
    assert.deepStrictEqual(found.sizes, SIZES);
  },
  async ping_pong(client) {
    const call = client.FullDuplexCall(deadline());
    const sent = [27182, 8, 1828, 45904];
    const next = (number) => (number < 4
      ? call.write({ response_parameters: [{ size: SIZES[number] }], payload: zeros(sent[number]) })
      : call.end());
    const answers = all(call, next);
    next(0);
    const found = await answers;
    assert.ifError(found.error);
    assert.deepStrictEqual(found.sizes, SIZES);
  },
  async empty_stream(client) {
    const call = client.FullDuplexCall(deadline());
    call.end();
    const found = await all(call);
    assert.ifError(found.error);
    assert.deepStrictEqual(found.sizes, []);
  },
  async custom_metadata(client) {
    checkMetadata(await large(client));
    const call = client.FullDuplexCall(metadata(), deadline());
    call.write({ response_parameters: [{ size: BIG }], payload: zeros(271828) });
    call.end();
    const found = await all(call);
    assert.deepStrictEqual(found.sizes, [BIG]);
    checkMetadata(found);
  },
  async status_code_and_message(client) {
    const response_status = { code: 2, message: 'test status message' };
    await fails(once((done) => client.UnaryCall({ response_status }, deadline(), done)), 2, 'test status message');
    const call = client.FullDuplexCall(deadline());
    call.write({ response_status });
    call.end();
    await fails(all(call), 2, 'test status message');
  },
  async special_status_message(client) {
    const response_status = { code: 2, message: SPECIAL };
    await fails(once((done) => client.UnaryCall({ response_status }, deadline(), done)), 2, SPECIAL);
  },
  async unimplemented_method(client) {
    await fails(once((done) => client.UnimplementedCall({}, deadline(), done)), grpc.status.UNIMPLEMENTED);
  },
  async unimplemented_service(client, address) {
    const other = new UnimplementedService(address, grpc.credentials.createInsecure());
    await fails(once((done) => other.UnimplementedCall({}, deadline(), done)), grpc.status.UNIMPLEMENTED);
    other.close();
  },
  async cancel_after_begin(client) {
    await fails(once((done) => {
      const call = client.StreamingInputCall(deadline(), done);
      setImmediate(() => call.cancel());
      return call;
    }), grpc.status.CANCELLED);
  },
  async cancel_after_first_response(client) {
    const call = client.FullDuplexCall(deadline());
    const answers = all(call, () => call.cancel());
    call.write({ response_parameters: [{ size: 31415 }], payload: zeros(27182) });
    const found = await answers;
    assert.deepStrictEqual(found.sizes, [31415]);
    assert.strictEqual(found.error.code, grpc.status.CANCELLED);
  },
  async timeout_on_sleeping_server(client) {
    const call = client.FullDuplexCall(deadline(0.001));
    call.write({ payload: zeros(27182) });
    await fails(all(call), grpc.status.DEADLINE_EXCEEDED);
  },
  async concurrent_large_unary(client) {
    const found = await Promise.all(Array.from({ length: 100 }, () => large(client)));
    for (const { error, answer } of found) {
      assert.ifError(error);
      assert.strictEqual(answer.payload.body.length, BIG);
    }
  },
};

async function main(address) {
  const results = {};
  for (const [name, run] of Object.entries(cases)) {
    const client = new TestService(address, grpc.credentials.createInsecure(), { 'grpc.enable_http_proxy': 0 });
    try {
      await run(client, address);
      results[name] = 'ok';
    } catch (error) {
      results[name] = String(error.stack || error);
    }
    client.close();
  }
  console.log(JSON.stringify(results));
}

main(process.argv[2]);
