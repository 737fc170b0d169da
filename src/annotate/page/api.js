// Requests to the server. Every one answers with JSON, and every failure is a Failure with a reason.

/** Why a request failed. `status` is 0 if the server could not be reached. */
export class Failure extends Error {
  constructor(message, status, body = null) {
    super(message);
    this.status = status;
    this.body = body;
  }

  /** Whether the same request may succeed later without anybody changing anything. */
  get isPassing() {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }

  get isStranger() {
    return this.status === 401 || this.status === 403;
  }
}

const UNREACHED = "the server does not answer";

async function request(method, path, body, options = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) Object.assign(headers, { "Content-Type": "application/json", "X-Sonotune": "1" });
  let answer;
  let parsed = null;
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: text, credentials: "same-origin", ...options });
    const content = await answer.text();
    parsed = content ? parse(content) : null;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(UNREACHED, 0);
  }
  if (!answer.ok) throw new Failure(parsed?.error ?? `${method} ${path}: status ${answer.status}`, answer.status, parsed);
  return parsed;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const session = () => request("GET", "/api/session");
export const image = (id) => request("GET", `/api/images/${id}`);
export const put = (id, body, options) => request("PUT", `/api/images/${id}`, body, options);
export const ask = (id, prompts) => request("POST", `/api/images/${id}/ask`, { prompts });
export const drafts = (id) => request("POST", `/api/images/${id}/drafts`, {});
export const prepare = (ids) => request("POST", "/api/prepare", { ids });
export const order = (by) => request("POST", "/api/order", { by });
export const categories = (list) => request("PUT", "/api/categories", { categories: list });
export const first = (id) => request("POST", `/api/images/${id}/first`, {});
export const agreement = () => request("GET", "/api/agreement");

/** The pixels of an image, ready to be drawn. */
export async function pixels(id) {
  let answer;
  try {
    answer = await fetch(`/api/images/${id}/pixels`, { credentials: "same-origin" });
  } catch {
    throw new Failure(UNREACHED, 0);
  }
  if (!answer.ok) {
    const body = parse(await answer.text());
    throw new Failure(body?.error ?? `the image cannot be shown (status ${answer.status})`, answer.status, body);
  }
  try {
    return await createImageBitmap(await answer.blob());
  } catch (error) {
    throw new Failure(`the browser cannot show the image: ${error.message}`, answer.status);
  }
}
