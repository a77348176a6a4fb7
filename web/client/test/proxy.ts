// A TCP proxy that does to connections what networks and proxies do.
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

export interface ProxyFault {
  /** The connection is reset after this many bytes to the client. */
  cutAfterBytes?: number | undefined;
  /** The connection is reset after this time. Milliseconds. */
  cutAfterMs?: number | undefined;
  /** Each piece to the client comes this much later. Milliseconds. */
  delayMs?: number | undefined;
}

/**
 * What becomes of a WebSocket's handshake. `refuse`: 403, as a strict proxy
 * says. `strip`: the Upgrade header is lost on the way. `swallow`: the 101 comes
 * through, and then nothing does.
 */
export type UpgradeFate = "pass" | "refuse" | "strip" | "swallow";

/** FaultyProxy stands between a client and one port of 127.0.0.1. `close` cuts what is open. */
export class FaultyProxy {
  upgrade: UpgradeFate = "pass";
  /** Asked once for each connection. `webSocket`: it begins with a handshake. */
  fault: (webSocket: boolean) => ProxyFault = () => ({});
  /** Nobody gets through, as when the network is away. */
  down = false;
  /** Connections so far, and those with a handshake among them. */
  connections = 0;
  handshakes = 0;
  readonly #server: Server;
  #port: number;
  readonly #sockets = new Set<Socket>();
  readonly #dead = new WeakSet<Socket>();

  private constructor(port: number) {
    this.#port = port;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** `target`: the URL of what is behind the proxy. */
  static async listen(target: string): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(Number(new URL(target).port));
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** New connections go to another server. */
  retarget(target: string): void {
    this.#port = Number(new URL(target).port);
  }

  /** Every connection that is open goes dead, without an end that anybody is told of. New ones get through. */
  freeze(): void {
    for (const socket of this.#sockets) this.#dead.add(socket);
  }

  /** Resets every connection. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.cutAll();
    await closed;
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => {}); // resets are what this is for
  }

  #accept(client: Socket): void {
    this.#track(client);
    if (this.down) return void client.resetAndDestroy();
    this.connections++;
    let head = "";
    const read = (bytes: Buffer) => {
      head += bytes.toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      client.off("data", read);
      client.pause();
      this.#connect(client, head);
    };
    client.on("data", read);
  }

  #connect(client: Socket, head: string): void {
    const webSocket = /^upgrade: *websocket\r$/im.test(head);
    if (webSocket) this.handshakes++;
    const fate = webSocket ? this.upgrade : "pass";
    if (fate === "refuse") {
      client.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
      return;
    }
    if (fate === "strip") head = head.replace(/^(upgrade|connection): .*\r\n/gim, "");

    const { cutAfterBytes = Infinity, cutAfterMs, delayMs = 0 } = this.fault(webSocket);
    const server = connect(this.#port, "127.0.0.1");
    this.#track(server);
    const cut = () => {
      client.resetAndDestroy();
      server.resetAndDestroy();
    };
    const timer = cutAfterMs === undefined ? undefined : setTimeout(cut, cutAfterMs);
    const stop = () => {
      clearTimeout(timer);
      client.destroy();
      server.destroy();
    };
    client.on("close", stop);
    server.on("close", () => (delayMs > 0 ? setTimeout(stop, delayMs) : client.end()));
    server.write(Buffer.from(head, "latin1"));
    client.on("data", (bytes) => this.#dead.has(client) || server.write(bytes));
    client.on("end", () => server.end());
    client.resume();

    let passed = 0;
    let swallowed = false;
    server.on("data", (bytes: Buffer) => {
      if (swallowed || this.#dead.has(server)) return;
      if (fate === "swallow") {
        swallowed = true;
        bytes = bytes.subarray(0, bytes.indexOf("\r\n\r\n") + 4);
      }
      const rest = bytes.subarray(0, Math.max(0, cutAfterBytes - passed));
      passed += bytes.length;
      const pass = () => {
        if (rest.length > 0 && client.writable) client.write(rest);
        // What was written has to leave first.
        if (passed > cutAfterBytes) setImmediate(cut);
      };
      if (delayMs > 0) setTimeout(pass, delayMs);
      else pass();
    });
  }
}
