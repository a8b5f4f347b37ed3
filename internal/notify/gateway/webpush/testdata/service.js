// A push service made of the npm package web-push-testing, for the gateway's test: it listens on the port it is given.
const { PushApiModel } = require("web-push-testing/src/PushApiModel");
const WebPushTestingServer = require("web-push-testing/src/server");
new WebPushTestingServer(new PushApiModel(), Number(process.argv[2])).startServer();
