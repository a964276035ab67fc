import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.settings.Settings;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

/** One node on this machine, in the directory of the first argument, until standard input ends. It prints its port. */
final class SingleNode extends Node {
    private SingleNode(Settings settings) {
        super(
                InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "test"),
                List.of(Netty4Plugin.class, CommonAnalysisPlugin.class),
                false);
    }

    public static void main(String[] arguments) throws Exception {
        Settings settings = Settings.builder()
                .put("path.home", Path.of(arguments[0]).toAbsolutePath().toString())
                .put("cluster.name", "research-tests")
                .put("discovery.type", "single-node")
                .put("network.host", "127.0.0.1")
                .put("http.port", 0)
                .put("transport.port", 0)
                // The disk of whoever runs the tests may be fuller than a cluster would want.
                .put("cluster.routing.allocation.disk.threshold_enabled", false)
                .put("node.processors", 1)
                .build();
        try (Node node = new SingleNode(settings).start()) {
            int port = node.injector()
                    .getInstance(HttpServerTransport.class)
                    .boundAddress()
                    .publishAddress()
                    .getPort();
            System.out.println("port " + port);
            System.out.flush();
            while (System.in.read() >= 0) {
                // whoever started the node ends it by closing the pipe, also by being killed
            }
        }
        System.exit(0);
    }
}
