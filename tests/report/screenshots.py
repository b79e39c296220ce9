"""Opens a report in headless Chromium at the width of a phone and of a desktop, and prints it.

    apt-get install chromium
    python3 -m pip install websocket-client
    python3 tests/report/screenshots.py out/report.html screenshots

Writes screenshots/phone.png, desktop.png and report.pdf. Fails on an error on the console, on
a request to anything but the page itself, and on a page that is wider than the screen.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import websocket

WIDTHS = {"phone": 390, "desktop": 1400}


class Browser:
    """A headless Chromium, spoken to in its DevTools protocol."""

    def __init__(self, folder):
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            sys.exit("no chromium on the path: apt-get install chromium")
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
             "--remote-allow-origins=*", f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        port_file = pathlib.Path(folder) / "DevToolsActivePort"
        for _ in range(300):
            if port_file.exists() and port_file.read_text().strip():
                break
            time.sleep(0.1)
        port = port_file.read_text().split()[0]
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        page = next(page for page in pages if page["type"] == "page")
        self.socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=60)
        self.next, self.events = 0, []

    def call(self, method, **parameters):
        self.next += 1
        self.socket.send(json.dumps({"id": self.next, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.next:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def wait(self, event):
        while not any(e.get("method") == event for e in self.events):
            self.events.append(json.loads(self.socket.recv()))


def look(page, folder, name, width):
    """One screenshot; returns what is wrong."""
    wrong = []
    # Processes of the browser may write to it still when the first one has ended.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        try:
            for domain in ["Page", "Network", "Log", "Runtime"]:
                browser.call(f"{domain}.enable")
            browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                         deviceScaleFactor=1, mobile=width < 600)
            address = page.resolve().as_uri()
            browser.call("Page.navigate", url=address)
            browser.wait("Page.loadEventFired")
            time.sleep(0.3)
            evaluated = browser.call("Runtime.evaluate", expression="document.documentElement.scrollWidth")
            if evaluated["result"]["value"] > width:
                wrong.append(f"{name}: the page is {evaluated['result']['value']} px wide, the screen {width}")
            height = browser.call("Runtime.evaluate", expression="document.documentElement.scrollHeight")
            shot = browser.call("Page.captureScreenshot", captureBeyondViewport=True, clip={
                "x": 0, "y": 0, "width": width, "height": height["result"]["value"], "scale": 1})
            (folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
            if name == "desktop":
                paper = browser.call("Page.printToPDF", printBackground=True)
                (folder / "report.pdf").write_bytes(base64.b64decode(paper["data"]))
            for event in browser.events:
                method, parameters = event.get("method"), event.get("params", {})
                if method == "Network.requestWillBeSent":
                    url = parameters["request"]["url"]
                    if url != address and not url.startswith("data:"):
                        wrong.append(f"{name}: a request to {url}")
                if method in ["Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"]:
                    wrong.append(f"{name}: {json.dumps(parameters)[:300]}")
        finally:
            browser.process.terminate()
            browser.process.wait()
    return wrong


def main(page, folder):
    page, folder = pathlib.Path(page), pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    wrong = [text for name, width in WIDTHS.items() for text in look(page, folder, name, width)]
    print("\n".join(wrong) or f"no error, no request, nothing too wide; see {folder}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
