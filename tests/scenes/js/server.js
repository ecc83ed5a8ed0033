// An app of the SDK: topics, a binding and methods over one protocol. Arguments: protocol, app port, sidecar port, notes.
const fs = require("fs");
const { DaprServer, CommunicationProtocolEnum, DaprPubSubStatusEnum, HttpMethod, LogLevel } = require(process.env.DAPR_SDK ?? "@dapr/dapr");

const [protocol, appPort, daprPort, notes] = process.argv.slice(2);
const communicationProtocol = CommunicationProtocolEnum[protocol.toUpperCase()];
const server = new DaprServer({
  serverHost: "127.0.0.1",
  serverPort: appPort,
  communicationProtocol,
  clientOptions: { daprHost: "127.0.0.1", daprPort, communicationProtocol, logger: { level: LogLevel.Error } },
});
const topic = (name) => `${protocol}-${name}`;

function note(what) {
  return async (data) => fs.appendFileSync(notes, JSON.stringify({ what, data: data ?? null }) + "\n");
}

let refused = false;
async function secondTime(data) {
  await note("bulk")(data);
  if (data.n !== 0 || refused) return DaprPubSubStatusEnum.SUCCESS;
  refused = true;
  return DaprPubSubStatusEnum.RETRY;
}

(async () => {
  await server.pubsub.subscribe("bus", topic("plain"), note("plain"));
  await server.pubsub.subscribe("bus", topic("raw"), note("raw"), "raw", { rawPayload: true });
  await server.pubsub.subscribeWithOptions("bus", topic("answers"), {
    deadLetterTopic: topic("dead"),
    callback: async (data) => DaprPubSubStatusEnum[data],
  });
  await server.pubsub.subscribe("bus", topic("dead"), note("dead"), "dead");
  await server.pubsub.subscribeWithOptions("bus", topic("routed"), {
    route: { default: "/other", rules: [{ match: 'event.type == "dear"', path: "/dear" }] },
  });
  server.pubsub.subscribeToRoute("bus", topic("routed"), "other", note("other"));
  server.pubsub.subscribeToRoute("bus", topic("routed"), "dear", note("dear"));
  await server.pubsub.subscribeBulk("bus", topic("bulk"), secondTime, { maxMessagesCount: 10, maxAwaitDurationMs: 50 });
  await server.binding.receive("tick", note("tick"));
  await server.invoker.listen(
    "greet",
    async ({ body }) => ({ hello: JSON.parse(body) }),
    { method: HttpMethod.POST },
  );
  await server.invoker.listen("relay", async () => {
    await server.client.state.save("store", [{ key: protocol, value: "through the server's own client" }]);
    return { kept: await server.client.state.get("store", protocol) };
  });
  await server.start();
})();
