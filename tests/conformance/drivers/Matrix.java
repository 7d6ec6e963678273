// java Matrix.java HTTP_1_1|HTTP_2, cases on standard input
//
// java.net.http.HttpClient. Each line in is a case: name, method, URL, bytes of the body or -, times, URL to call once
// the answer's first bytes are there or -, flags. Each line out is an answer: name, status, version, length, SHA-256,
// error or -, then a field `name: value` each; all between tabs.

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.zip.GZIPInputStream;

public class Matrix {
    private static HttpClient client;

    public static void main(String[] arguments) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(8);
        client = HttpClient.newBuilder().version(HttpClient.Version.valueOf(arguments[0])).build();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] values = line.split("\t", -1);
            int times = Integer.parseInt(values[4]);
            boolean atOnce = values[6].contains("at_once");
            List<CompletableFuture<String>> answers = new ArrayList<>();
            for (int number = 0; number < times; number++) {
                answers.add(CompletableFuture.supplyAsync(() -> ask(values), threads));
                if (!atOnce) {
                    answers.get(number).join();
                }
            }
            for (CompletableFuture<String> answer : answers) {
                System.out.println(answer.join());
            }
        }
        threads.shutdown();
    }

    private static byte[] pattern(int size) {
        byte[] body = new byte[size];
        for (int index = 0; index < size; index++) {
            body[index] = (byte) (index % 251);
        }
        return body;
    }

    private static BodyPublisher publisher(String body, List<String> flags) {
        if (body.equals("-")) {
            return BodyPublishers.noBody();
        }
        byte[] data = pattern(Integer.parseInt(body));
        return flags.contains("chunked")
            ? BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(data))
            : BodyPublishers.ofByteArray(data);
    }

    private static String ask(String[] values) {
        List<String> flags = Arrays.asList(values[6].split(","));
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(values[2]))
            .method(values[1], publisher(values[3], flags))
            .timeout(Duration.ofSeconds(60))
            .expectContinue(flags.contains("expect"));
        if (flags.contains("gzip")) {
            request.header("accept-encoding", "gzip");
        }
        try {
            HttpResponse<InputStream> response = client.send(request.build(), BodyHandlers.ofInputStream());
            byte[] body = read(response, values[5]);
            StringBuilder line = new StringBuilder(String.join("\t", values[0], "" + response.statusCode(),
                response.version().name(), "" + body.length, digest(body), "-"));
            response.headers().map().forEach(
                (name, fields) -> fields.forEach((value) -> line.append("\t" + name.toLowerCase() + ": " + value)));
            return line.toString();
        } catch (Exception error) {
            return String.join("\t", values[0], "0", "-", "0", "-", error.toString().replaceAll("\\s", " "));
        }
    }

    private static byte[] read(HttpResponse<InputStream> response, String release) throws Exception {
        InputStream stream = response.body();
        if (response.headers().firstValue("content-encoding").orElse("").equals("gzip")) {
            stream = new GZIPInputStream(stream);
        }
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        byte[] piece = new byte[65536];
        for (int count = stream.read(piece); count >= 0; count = stream.read(piece)) {
            body.write(piece, 0, count);
            if (!release.equals("-")) {
                client.send(HttpRequest.newBuilder(URI.create(release)).build(), BodyHandlers.discarding());
                release = "-";
            }
        }
        return body.toByteArray();
    }

    private static String digest(byte[] body) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body));
    }
}
