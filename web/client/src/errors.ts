/**
 * HubError is a refusal by the hub, or by this client on its behalf: of an HTTP
 * request (`status` is then set) or of a command on a stream. `code` is one of
 * the API's error codes, or one of these of the client's own:
 * `unreachable`, `connection_lost`, `stream_closed`, `too_many_pending`.
 */
export class HubError extends Error {
  override readonly name = "HubError";
  readonly code: string;
  /** The HTTP status; absent for a command on a stream. */
  readonly status: number | undefined;
  readonly retryAfterSeconds: number | undefined;
  /** The rest of the problem, such as `outcome` and `optionId` of `approval_resolved`. */
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    message: string,
    options: {
      status?: number;
      retryAfterSeconds?: number;
      fields?: Record<string, unknown>;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.status = options.status;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.fields = options.fields ?? {};
  }
}
