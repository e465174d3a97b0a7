"""An ACP agent that does what its script says: the standard library alone, any Python.

`python scripted_acp.py SCRIPT.json [LOG]`: the script maps the text of a prompt (its last block) to
steps; `*` is for every other text. A step is a list, its first word what to do:

    ["text", "hello"]                     a piece of the answer
    ["thought", "hm"]                     a thought
    ["update", {...}]                     any `session/update`
    ["permission", {"toolCall": ..., "options": ...}]   ask, and say what was chosen
    ["ask", "fs/read_text_file", {...}]   ask the client, and say its result or error as text
    ["terminal", {...}]                   create, wait, read and release; say what it printed
    ["print", "words"]                    what is no message, on the protocol's output
    ["again"]                             ask twice with one id, and say what it hears first
    ["hang"]                              wait until cancelled
    ["deaf"]                              wait for ever, whatever is said
    ["die", 3]                            exit with this status
    ["stop", "refusal", {usage}]          the stop reason (default: end_turn)

    ["env", "HOME", ...]                  say these variables

Options of the script itself, under the key "": `version` (protocol), `load` (takes sessions up
again: "load" or "resume"), `auth` (refuses sessions), `stays` (does not end with its input),
`child` (leaves a process behind). Each line that it gets is appended to LOG.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

SESSIONS = "sessions"
"""A file in HOME: the sessions that were begun, one a line."""


class Agent:
    """One connection.

    Args:
        script: see the module.
        log: a file, or None.
    """

    def __init__(self, script: dict[str, Any], log: str | None) -> None:
        self.script = script
        self.own = script.get("", {})
        self.log = log
        self.session = ""
        self.last_id = 0
        self.cancelled = False

    def send(self, **message: Any) -> None:
        """One line."""
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()

    def receive(self) -> dict[str, Any]:
        """The next line; ends the process where there is none."""
        line = sys.stdin.readline()
        if not line:
            while self.own.get("stays"):
                time.sleep(60)
            sys.exit(0)
        if self.log:
            with open(self.log, "a", encoding="utf-8") as file:
                file.write(line)
        message: dict[str, Any] = json.loads(line)
        return message

    def update(self, update: dict[str, Any]) -> None:
        """A `session/update`."""
        params = {"sessionId": self.session, "update": update}
        self.send(method="session/update", params=params)

    def say(self, text: str, kind: str = "agent_message_chunk") -> None:
        """A piece of the answer."""
        self.update({"sessionUpdate": kind, "content": {"type": "text", "text": text}})

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A request to the client; its whole answer."""
        self.last_id += 1
        asked = f"a{self.last_id}"
        self.send(id=asked, method=method, params={"sessionId": self.session, **params})
        while True:
            message = self.receive()
            if message.get("id") == asked and "method" not in message:
                return message
            if message.get("method") == "session/cancel":
                self.cancelled = True

    def run(self) -> None:
        """Serve until the input ends."""
        if self.own.get("child"):
            subprocess.Popen(["sleep", "60"], start_new_session=True)
        while True:
            message = self.receive()
            method: str = message.get("method", "")
            params: dict[str, Any] = message.get("params", {})
            if "id" in message and method:
                self.serve(message["id"], method, params)

    def serve(self, request_id: Any, method: str, params: dict[str, Any]) -> None:
        """Answer one request."""
        if method == "initialize":
            way = self.own.get("load")
            capabilities: dict[str, Any] = {"loadSession": way == "load"}
            if way == "resume":
                capabilities["sessionCapabilities"] = {"resume": {}}
            info = {"name": "scripted", "version": "1.0"}
            result: dict[str, Any] = {
                "protocolVersion": self.own.get("version", 1),
                "agentCapabilities": capabilities,
                "agentInfo": info,
                "authMethods": [],
            }
        elif method == "session/new" and self.own.get("auth"):
            error = {"code": -32000, "message": "Authentication required"}
            self.send(id=request_id, error=error)
            return
        elif method == "session/new":
            self.session = f"s{os.getpid()}"
            with open(self.sessions(), "a", encoding="utf-8") as file:
                file.write(self.session + "\n")
            result = {"sessionId": self.session}
        elif method in ("session/load", "session/resume"):
            with open(self.sessions(), encoding="utf-8") as file:
                known = file.read().split()
            if params["sessionId"] not in known:
                self.send(id=request_id, error={"code": -32002, "message": "no such session"})
                return
            self.session = params["sessionId"]
            if method == "session/load":
                self.say("what was said before")
            result = {}
        elif method == "session/prompt":
            result = self.prompt(params["prompt"][-1]["text"])
        else:
            self.send(id=request_id, error={"code": -32601, "message": f"no {method}"})
            return
        self.send(id=request_id, result=result)

    @staticmethod
    def sessions() -> str:
        """Where the sessions are."""
        return os.path.join(os.environ["HOME"], SESSIONS)

    def prompt(self, text: str) -> dict[str, Any]:
        """One turn."""
        self.cancelled = False
        result: dict[str, Any] = {"stopReason": "end_turn"}
        for step in self.script.get(text, self.script.get("*", [])):
            if self.cancelled:
                break
            self.step(step, result)
        if self.cancelled:
            result["stopReason"] = "cancelled"
        return result

    def step(self, step: list[Any], result: dict[str, Any]) -> None:
        """Do one step."""
        what, *rest = step
        if what == "text":
            self.say(rest[0])
        elif what == "env":
            self.say(json.dumps({name: os.environ.get(name) for name in rest}))
        elif what == "thought":
            self.say(rest[0], "agent_thought_chunk")
        elif what == "update":
            self.update(rest[0])
        elif what == "permission":
            answer = self.ask("session/request_permission", rest[0])
            self.say(json.dumps(answer["result"]["outcome"]))
        elif what == "ask":
            answer = self.ask(rest[0], rest[1])
            self.say(json.dumps(answer.get("result", answer.get("error"))))
        elif what == "terminal":
            self.terminal(rest[0])
        elif what == "print":
            sys.stdout.write(rest[0] + "\n")
            sys.stdout.flush()
        elif what == "again":
            self.send(id="twice", method="session/request_permission", params={})
            self.send(id="twice", method="session/request_permission", params={})
            self.say(json.dumps(self.receive().get("error")))
        elif what == "hang":
            while not self.cancelled:
                self.cancelled = self.receive().get("method") == "session/cancel"
        elif what == "deaf":
            signal.pause()
        elif what == "die":
            sys.stderr.write("these are my last words\n")
            sys.stderr.flush()
            os._exit(rest[0])
        elif what == "stop":
            result["stopReason"] = rest[0]
            if len(rest) > 1:
                result["usage"] = rest[1]
        else:
            raise ValueError(step)

    def terminal(self, params: dict[str, Any]) -> None:
        """Run a command through the client and say how it went."""
        created = self.ask("terminal/create", params)
        if "error" in created:
            self.say(json.dumps(created["error"]))
            return
        address = {"terminalId": created["result"]["terminalId"]}
        ended = self.ask("terminal/wait_for_exit", address)["result"]
        output = self.ask("terminal/output", address)["result"]
        self.ask("terminal/release", address)
        self.say(json.dumps({"ended": ended, "output": output}))


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as source:
        given: dict[str, Any] = json.load(source)
    Agent(given, sys.argv[2] if len(sys.argv) > 2 else None).run()
