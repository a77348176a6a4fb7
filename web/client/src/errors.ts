/**
 * HubError is a refusal by the hub, or by this client on its behalf: of an HTTP
 * request (`status` is then set) or of a command on a stream. `code` is one of
 * the API's error codes, or one of these of the client's own:
 * `unreachable`, `connection_lost`, `stream_closed`, `too_many_pending`,
 * `already_followed`.
 */
export class HubError extends Error {
  override readonly name = "HubError";
  readonly code: string;
  /** The HTTP status; absent for a command on a stream. */
  declare readonly status: number | undefined;
  declare readonly retryAfterSeconds: number | undefined;
  /** The rest of the problem, such as `outcome` and `optionId` of `approval_resolved`, or `field` of `invalid_answer`. */
  readonly fields: Readonly<Record<string, unknown>> = {};

  constructor(
    code: string,
    message: string,
    {
      cause,
      ...rest
    }: {
      status?: number | undefined;
      retryAfterSeconds?: number | undefined;
      fields?: Record<string, unknown>;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause });
    this.code = code;
    Object.assign(this, rest);
  }
}
