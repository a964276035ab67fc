import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.settings.Settings;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.transport.Netty4Plugin;

/**
 * One node on this machine, in the directory of the first argument, until standard input ends. It prints its port. The other
 * arguments are the classes of plugins that it has besides.
 */
final class SingleNode extends Node {
    private SingleNode(Settings settings, List<Class<? extends Plugin>> plugins) {
        super(InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "test"), plugins, false);
    }

    public static void main(String[] arguments) throws Exception {
        List<Class<? extends Plugin>> plugins = new ArrayList<>();
        plugins.add(Netty4Plugin.class);
        plugins.add(CommonAnalysisPlugin.class);
        for (int at = 1; at < arguments.length; at++) {
            plugins.add(Class.forName(arguments[at]).asSubclass(Plugin.class));
        }
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
        try (Node node = new SingleNode(settings, plugins).start()) {
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
