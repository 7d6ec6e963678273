// node interop_server.cjs HOST:PORT
//
// The service of gRPC's interoperability cases by @grpc/grpc-js. Prints a line once it listens. NODE_PATH names where
// the packages are.
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const definition = loader.loadSync(path.join(__dirname, 'interop.proto'), { keepCase: true, defaults: true });
const { TestService } = grpc.loadPackageDefinition(definition).grpc.testing;
const INITIAL = 'x-grpc-test-echo-initial';
const TRAILING = 'x-grpc-test-echo-trailing-bin';

const zeros = (size) => ({ payload: { body: Buffer.alloc(size) } });

// The metadata to send back: at the begin at once, at the end by who ends the call.
function echoed(call) {
  const initial = new grpc.Metadata();
  for (const value of call.metadata.get(INITIAL)) initial.add(INITIAL, value);
  if (call.metadata.get(INITIAL).length) call.sendMetadata(initial);
  const trailing = new grpc.Metadata();
  for (const value of call.metadata.get(TRAILING)) trailing.add(TRAILING, value);
  return trailing;
}

const failure = ({ response_status: status }) => (
  status && status.code ? { code: status.code, details: status.message } : null);

function output(call, request) {
  for (const { size } of request.response_parameters) call.write(zeros(size));
}

const server = new grpc.Server();
server.addService(TestService.service, {
  EmptyCall: (call, done) => done(null, {}),
  UnaryCall(call, done) {
    const trailing = echoed(call);
    const error = failure(call.request);
    if (error) done(error);
    else done(null, zeros(call.request.response_size), trailing);
  },
  StreamingInputCall(call, done) {
    let size = 0;
    call.on('data', (request) => { size += request.payload.body.length; });
    call.on('end', () => done(null, { aggregated_payload_size: size }));
    call.on('error', () => {}); // cancelled
  },
  StreamingOutputCall(call) {
    output(call, call.request);
    call.end();
  },
  FullDuplexCall(call) {
    const trailing = echoed(call);
    call.on('data', (request) => {
      const error = failure(request);
      if (error) call.emit('error', error);
      else output(call, request);
    });
    call.on('end', () => call.end(trailing));
    call.on('error', () => {}); // cancelled
  },
});
server.bindAsync(process.argv[2], grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  console.log('listening');
});
