// An app that serves a gRPC service of its own, and nothing of Dapr's. Argument: port.
const path = require("path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const [port] = process.argv.slice(2);
const { own } = grpc.loadPackageDefinition(protoLoader.loadSync(path.join(__dirname, "own.proto")));
const server = new grpc.Server();

server.addService(own.Own.service, {
  shout(call, answer) {
    const trailing = new grpc.Metadata();
    trailing.set("x-told", call.metadata.get("x-mine").join() || "nothing");
    answer(null, { text: call.request.text.toUpperCase() }, trailing);
  },
  spell(call) {
    for (const letter of call.request.text) call.write({ text: letter });
    call.end();
  },
  join(call, answer) {
    const texts = [];
    call.on("data", ({ text }) => texts.push(text));
    call.on("end", () => answer(null, { text: texts.join("-") }));
  },
  echo(call) {
    call.on("data", (line) => call.write(line));
    call.on("end", () => call.end());
  },
  fail(call, answer) {
    answer({ code: grpc.status.FAILED_PRECONDITION, details: "not today" });
  },
});
server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
