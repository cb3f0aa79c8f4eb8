// Drives a gateway through the npm package openfaas-client, as it is published, and prints what each call came to:
// a line of JSON with its name, its status and the body as the package read it, and as it came (`raw`).
//
//     node drive.js URL USER PASSWORD IMAGE
"use strict";
const { DefaultApi, HttpBasicAuth } = require("openfaas-client");

const [url, user, password, image] = process.argv.slice(2);
const api = new DefaultApi(url);
const auth = new HttpBasicAuth();
auth.username = user;
auth.password = password;

const spec = { service: "env", image, envProcess: "word", envVars: { A: "b" }, labels: { team: "blue" } };
const calls = {
  refused: () => api.systemFunctionsGet(),
  health: () => (api.setDefaultAuthentication(auth), api.healthzGet()),
  info: () => api.systemInfoGet(),
  updateNothing: () => api.systemFunctionsPut(spec),
  deploy: () => api.systemFunctionsPost(spec),
  deployAgain: () => api.systemFunctionsPost(spec),
  list: () => api.systemFunctionsGet(),
  describe: () => api.systemFunctionFunctionNameGet("env"),
  invoke: () => api.functionFunctionNamePost("env", "some body"),
  queue: () => api.asyncFunctionFunctionNamePost("env", "some body", { headers: { "X-Call-Id": "of-the-caller" } }),
  createSecret: () => api.systemSecretsPost({ name: "key", value: "one" }),
  updateSecret: () => api.systemSecretsPut({ name: "key", value: "two" }),
  listSecrets: () => api.systemSecretsGet(),
  update: () => api.systemFunctionsPut({ ...spec, envVars: { A: "c" }, secrets: ["key"], annotations: { topic: "t" } }),
  describeUpdated: () => api.systemFunctionFunctionNameGet("env"),
  invokeUpdated: () => api.functionFunctionNamePost("env", "some body"),
  // The package takes the body for a text, and sends an object as it is.
  scale: () => api.systemScaleFunctionFunctionNamePost("env", { serviceName: "env", replicas: 2 }),
  alert: () => api.systemAlertPost({ alerts: [{ status: "firing", labels: { function_name: "nobody" } }] }),
  logs: () => api.systemLogsGet("env", undefined, 10, false),
  remove: () => api.systemFunctionsDelete({ functionName: "env" }),
  describeNothing: () => api.systemFunctionFunctionNameGet("env"),
  removeSecret: () => api.systemSecretsDelete({ name: "key" }),
  listNothing: () => api.systemFunctionsGet(),
};

(async () => {
  for (const [name, call] of Object.entries(calls)) {
    const { response, body } = await call().catch((refused) => {
      if (refused.response) return refused;
      throw refused;
    });
    const { statusCode: status, headers, body: raw } = response;
    console.log(JSON.stringify({ name, status, headers, body, raw }));
  }
})();
