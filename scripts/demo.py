"""The main job, from nothing: real samples become trained, judged, served models.

Ends with the server up, or, where there is no terminal, with one call to it.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PORT = 8000
JOBS = (
    ("clinic", ["train", "clinic.csv", "--target", "diagnosis", "--out", "runs/clinic"]),
    ("digits", ["train", "digits", "--out", "runs/digits"]),
    ("reviews", ["train", "reviews.csv", "--target", "label", "--minutes", "1", "--out", "runs/reviews"]),
    ("poems", ["train", "poems.txt", "--minutes", "1", "--out", "runs/poems"]),
)


def duomo(*words: str) -> None:
    print(f"\n$ duomo {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-m", "duomo.cli", *words], check=True)


def call(path: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait() -> None:
    for _ in range(150):
        try:
            call("/health")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise SystemExit("The server did not come up within 30 seconds.")


def main() -> None:
    folder = Path("demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)
    for sample, words in JOBS:
        duomo("sample", sample)
        if sample == "reviews":
            duomo("inspect", "reviews.csv")
        duomo(*words)
    duomo("list", "runs")
    duomo("predict", "runs/reviews", "--text", "Beautiful colour, fits perfectly, I wear it every week.")
    duomo("predict", "runs/poems", "--text", "春")
    print(f"\n$ duomo serve runs/reviews --port {PORT}", flush=True)
    command = [sys.executable, "-m", "duomo.cli", "serve", "runs/reviews", "--port", str(PORT)]
    if sys.stdin.isatty() and sys.stdout.isatty():
        print("Scorecards: demo/runs/*/scorecard.html    Stop with Ctrl-C.", flush=True)
        os.execv(sys.executable, command)
    server = subprocess.Popen(command)
    try:
        wait()
        body = {"rows": [{"text": "It fell apart after the first wash. Returned.", "age": 41, "department": "Tops"}]}
        print("POST /v1/predict", json.dumps(body), "->", json.dumps(call("/v1/predict", body)), flush=True)
    finally:
        server.terminate()
        server.wait(30)
    print("\nDemo finished. Scorecards: demo/runs/*/scorecard.html", flush=True)


if __name__ == "__main__":
    main()
