// Calls another app's own gRPC service through the sidecar, and prints what came as one line of JSON.
// Arguments: "proxy" (the SDK's client.proxy) or "metadata" (a client of grpc-js), port of the sidecar, the app to call.
const path = require("path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [form, port, appId] = process.argv.slice(2);
const { own } = grpc.loadPackageDefinition(protoLoader.loadSync(path.join(__dirname, "own.proto")));

async function throughSdk() {
  // The SDK addresses the app that APP_ID names.
  process.env.APP_ID = appId;
  const { DaprClient, CommunicationProtocolEnum, LogLevel } = require("dapr-3.6");
  const client = new DaprClient({
    daprHost: "127.0.0.1",
    daprPort: port,
    communicationProtocol: CommunicationProtocolEnum.GRPC,
    logger: { level: LogLevel.Error },
  });
  return [await client.proxy.create(own.Own), new grpc.Metadata()];
}

function byMetadata() {
  const metadata = new grpc.Metadata();
  metadata.set("dapr-app-id", appId);
  return [new own.Own(`127.0.0.1:${port}`, grpc.credentials.createInsecure()), metadata];
}

function all(call) {
  return new Promise((resolve, reject) => {
    const texts = [];
    call.on("data", ({ text }) => texts.push(text));
    call.on("end", () => resolve(texts));
    call.on("error", reject);
  });
}

(async () => {
  const [stub, metadata] = form === "proxy" ? await throughSdk() : byMetadata();
  const told = {};
  const mine = metadata.clone();
  mine.set("x-mine", "yes");
  told.unary = await new Promise((resolve, reject) => {
    const call = stub.shout({ text: "hey" }, mine, (error, { text } = {}) => (error ? reject(error) : (told.text = text)));
    call.on("status", ({ metadata }) => resolve([told.text, metadata.get("x-told")]));
  });
  told.server = await all(stub.spell({ text: "abc" }, metadata));
  told.client = await new Promise((resolve, reject) => {
    const call = stub.join(metadata, (error, { text } = {}) => (error ? reject(error) : resolve(text)));
    for (const text of ["a", "b", "c"]) call.write({ text });
    call.end();
  });
  const talk = stub.echo(metadata);
  const echoed = all(talk);
  for (const text of ["x", "y"]) talk.write({ text });
  talk.end();
  told.both = await echoed;
  told.failed = await new Promise((resolve) => stub.fail({}, metadata, ({ code, details }) => resolve([code, details])));
  console.log(JSON.stringify(told));
  process.exit(0);
})();
