// A real, tiny model behind the one request that the `model` agent makes of an OpenAI-compatible
// endpoint. `node serve.mjs MODEL.gguf` prints its address on the loopback interface. Tools are not
// offered to the model, which is too small for them; one request is answered after the other.
import http from "node:http";
import {getLlama, LlamaChatSession} from "node-llama-cpp";

const MAX_TOKENS = 48; // one sentence: the test asks for shape, not for wit
const CONTEXT_TOKENS = 4096; // what the agent tells the model of its pod takes some hundreds

const llama = await getLlama({gpu: false, build: "never", maxThreads: 1, logLevel: "error"});
const model = await llama.loadModel({modelPath: process.argv[2]});
// One thread: with more, on a busy machine, they wait for one another.
const context = await model.createContext({contextSize: CONTEXT_TOKENS, threads: 1});

const textOf = (content) =>
    typeof content === "string" ? content : (content ?? []).map((part) => part.text ?? "").join("");

async function answer(body, write) {
    const system = body.messages.filter((one) => one.role === "system").map((one) => textOf(one.content));
    const asked = body.messages.filter((one) => one.role === "user").map((one) => textOf(one.content));
    const session = new LlamaChatSession({
        contextSequence: context.getSequence(),
        systemPrompt: system.join("\n"),
        autoDisposeSequence: true,
    });
    try {
        await session.prompt(asked.at(-1), {maxTokens: MAX_TOKENS, onTextChunk: write});
        return {input: session.sequence.nextTokenIndex, output: MAX_TOKENS};
    } finally {
        session.dispose();
    }
}

const server = http.createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const body = JSON.parse(Buffer.concat(pieces).toString() || "{}");
    if (!body.stream || !request.url.endsWith("/chat/completions")) {
        response.writeHead(404).end();
        return;
    }
    response.writeHead(200, {"content-type": "text/event-stream"});
    const send = (choice, more = {}) =>
        response.write(`data: ${JSON.stringify({id: "1", object: "chat.completion.chunk", choices: choice, ...more})}\n\n`);
    const used = await answer(body, (text) => send([{index: 0, delta: {content: text}}]));
    send([{index: 0, delta: {}, finish_reason: "stop"}]);
    send([], {usage: {prompt_tokens: used.input, completion_tokens: used.output}});
    response.end("data: [DONE]\n\n");
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}`));
