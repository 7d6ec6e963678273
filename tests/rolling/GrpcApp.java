// The gRPC service on grpc-java: a call may ask to be answered late, 300 after 300 ms. It stops as grpc-java's examples
// do: a shutdown hook takes no more calls and waits for those under way.

import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCalls;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

public class GrpcApp {
  private static final int PORT = 9090;
  private static final int LONGEST_SECONDS = 50;

  /** Messages are plain bytes. */
  private static final MethodDescriptor.Marshaller<byte[]> BYTES =
      new MethodDescriptor.Marshaller<byte[]>() {
        @Override
        public InputStream stream(byte[] message) {
          return new ByteArrayInputStream(message);
        }

        @Override
        public byte[] parse(InputStream stream) {
          try {
            return stream.readAllBytes();
          } catch (IOException error) {
            throw new UncheckedIOException(error);
          }
        }
      };

  private static final MethodDescriptor<byte[], byte[]> WAIT =
      MethodDescriptor.<byte[], byte[]>newBuilder()
          .setType(MethodDescriptor.MethodType.UNARY)
          .setFullMethodName("rolling.Calls/Wait")
          .setRequestMarshaller(BYTES)
          .setResponseMarshaller(BYTES)
          .build();

  public static void main(String[] arguments) throws IOException, InterruptedException {
    ServerServiceDefinition calls =
        ServerServiceDefinition.builder("rolling.Calls")
            .addMethod(
                WAIT,
                ServerCalls.asyncUnaryCall(
                    (request, answer) -> {
                      String milliseconds = new String(request, StandardCharsets.UTF_8);
                      try {
                        Thread.sleep(milliseconds.isEmpty() ? 0 : Long.parseLong(milliseconds));
                      } catch (InterruptedException error) {
                        throw new IllegalStateException(error);
                      }
                      answer.onNext(request);
                      answer.onCompleted();
                    }))
            .build();
    Server server = NettyServerBuilder.forPort(PORT).addService(calls).build().start();
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  try {
                    server.shutdown().awaitTermination(LONGEST_SECONDS, TimeUnit.SECONDS);
                  } catch (InterruptedException error) {
                    throw new IllegalStateException(error);
                  }
                }));
    server.awaitTermination();
  }
}
