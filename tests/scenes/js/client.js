// The SDK as a client: every block once over one protocol; a line of JSON for each.
// Arguments: protocol, port, and the one story to tell where not all are.
const { DaprClient, CommunicationProtocolEnum, HttpMethod, StateConcurrencyEnum, StateConsistencyEnum, LogLevel } =
  require(process.env.DAPR_SDK ?? "@dapr/dapr");

const [protocol, port, only] = process.argv.slice(2);
const client = new DaprClient({
  daprHost: "127.0.0.1",
  daprPort: port,
  communicationProtocol: CommunicationProtocolEnum[protocol.toUpperCase()],
  logger: { level: LogLevel.Error },
});

// What failed, as text: the HTTP client throws the body, the gRPC client a ConnectError, some methods answer {error}.
async function failure(promise) {
  try {
    const answer = await promise;
    return answer && answer.error ? String(answer.error.message ?? answer.error) : null;
  } catch (error) {
    return String(error.message ?? (error.error && error.error.message) ?? error);
  }
}

const stories = {
  async state() {
    const saved = await client.state.save("store", [
      { key: "a", value: { n: 1 } },
      { key: "b", value: "text", metadata: { ttlInSeconds: "60" } },
    ]);
    const read = await client.state.get("store", "a");
    const text = await client.state.get("store", "b");
    await client.state.delete("store", "a");
    return { saved, read, text, gone: await client.state.get("store", "a") };
  },

  async etag() {
    await client.state.save("store", [{ key: "g", value: "1" }]);
    const [{ etag }] = await client.state.getBulk("store", ["g"]);
    const options = {
      concurrency: StateConcurrencyEnum.CONCURRENCY_FIRST_WRITE,
      consistency: StateConsistencyEnum.CONSISTENCY_STRONG,
    };
    await client.state.save("store", [{ key: "g", value: "2", etag, options }]);
    const late = await failure(client.state.save("store", [{ key: "g", value: "3", etag, options }]));
    const deleting = await failure(client.state.delete("store", "g", { etag, ...options }));
    return { late, deleting, kept: await client.state.get("store", "g") };
  },

  async bulk() {
    await client.state.save("store", [{ key: "x", value: 1 }, { key: "y", value: 2 }]);
    const items = await client.state.getBulk("store", ["x", "y", "none"], { parallelism: 2 });
    return items.map(({ key, data }) => [key, data ?? null]);
  },

  async transaction() {
    await client.state.save("store", [{ key: "old", value: "x" }]);
    await client.state.transaction("store", [
      { operation: "upsert", request: { key: "new", value: "y" } },
      { operation: "delete", request: { key: "old" } },
    ]);
    return [await client.state.get("store", "new"), await client.state.get("store", "old")];
  },

  async publish() {
    return [
      await client.pubsub.publish("bus", "seen", { n: 1 }),
      await client.pubsub.publish("bus", "seen", "words"),
      await client.pubsub.publish("bus", "seen", "<a/>", { contentType: "application/xml" }),
      await client.pubsub.publish(
        "bus", "seen",
        { specversion: "1.0", id: "own", source: "me", type: "mine", datacontenttype: "text/plain", data: "enveloped" },
        { contentType: "application/cloudevents+json" },
      ),
      await client.pubsub.publish("bus", "seen", "typed", { metadata: { "cloudevent.type": "other" } }),
    ];
  },

  async publishBulk() {
    return client.pubsub.publishBulk("bus", "seen", [
      { n: 10 },
      "bulk words",
      { entryID: "third", event: "<b/>", contentType: "application/xml" },
    ]);
  },

  async publishFails() {
    return failure(client.pubsub.publish("nosuch", "seen", "x"));
  },

  async secret() {
    return [await client.secret.get("vault", "db:user"), await client.secret.getBulk("vault")];
  },

  async binding() {
    const name = { fileName: "a.txt" };
    await client.binding.send("files", "create", "hello", name);
    const read = await client.binding.send("files", "get", "", name);
    await client.binding.send("files", "delete", "", name);
    return {
      read: protocol === "grpc" ? Buffer.from(read.data).toString() : read,
      gone: await failure(client.binding.send("files", "get", "", name)),
    };
  },

  async metadata() {
    const set = await client.metadata.set("colour", "green");
    return { set, got: await client.metadata.get() };
  },

  async health() {
    return client.health.isHealthy();
  },

  async invoke() {
    const put = await client.invoker.invoke("plain", "echo", HttpMethod.PUT, { n: 1 }, { headers: { "x-mine": "yes" } });
    // Over gRPC the SDK has no place for a query.
    const get = await client.invoker.invoke("plain", protocol === "http" ? "echo?q=1" : "echo/x", HttpMethod.GET);
    return { put, get, missing: await failure(client.invoker.invoke("plain", "nosuch", HttpMethod.GET)) };
  },

  async invokeNobody() {
    return failure(client.invoker.invoke("nosuch", "m", HttpMethod.GET));
  },

  async absent() {
    const key = { componentName: "none", keyName: "key", keyWrapAlgorithm: "RSA" };
    return {
      configuration: await failure(client.configuration.get("none", ["k"])),
      lock: await failure(client.lock.lock("none", "resource", "owner", 10)),
      // Over HTTP the SDK throws at once.
      crypto: await failure((async () => client.crypto.encrypt(Buffer.from("x"), key))()),
    };
  },

  async shutdown() {
    await client.sidecar.shutdown();
    return true;
  },
};

(async () => {
  for (const [what, story] of Object.entries(stories)) {
    if (only && only !== what) continue;
    let line;
    try {
      line = { what, told: await story() };
    } catch (error) {
      line = { what, error: String(error.stack ?? error.error ?? error) };
    }
    console.log(JSON.stringify(line, (_, value) => (typeof value === "bigint" ? Number(value) : value)));
  }
  await client.stop();
})();
