// Questions and requests to the console's own API. Every failure becomes an ApiError whose message a person can use.

export class ApiError extends Error {
  constructor(status, message, body) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

const TOKEN = "millrace-token"; // kept for this tab only, and never in an address that a person sees

export const token = () => sessionStorage.getItem(TOKEN);
export const setToken = (text) => sessionStorage.setItem(TOKEN, text);

function headers(more) {
  const held = token();
  return { accept: "application/json", ...more, ...(held ? { authorization: `Bearer ${held}` } : {}) };
}

/** The address of a path with these parameters; those that are empty are left out. */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  return query.size ? `${path}?${query}` : path;
}

async function answered(promise, what) {
  let response;
  try {
    response = await promise;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, `The console does not answer (${what}). Is it still running? It is tried again by itself.`);
  }
  const text = await response.text();
  let body = text;
  try {
    body = JSON.parse(text);
  } catch (error) {
    // Not JSON: the text itself is what there is.
  }
  if (response.status === 401) document.dispatchEvent(new CustomEvent("millrace:locked"));
  if (!response.ok) throw new ApiError(response.status, reason(response, body), body);
  return { status: response.status, body };
}

function reason(response, body) {
  const detail = body?.detail ?? body?.message ?? body?.audit?.reason;
  if (Array.isArray(detail)) return detail.map((one) => `${one.loc?.at(-1) ?? ""}: ${one.msg}`).join("; ");
  if (typeof detail === "string") return detail;
  return `The console answered ${response.status} ${response.statusText}.`;
}

/** A part of a path; ids hold slashes and colons. */
export const part = encodeURIComponent;

export async function get(path, parameters, signal) {
  return (await answered(fetch(address(path, parameters), { signal, headers: headers() }), path)).body;
}

export async function post(path, body, parameters) {
  return answered(
    fetch(address(path, parameters), {
      method: "POST",
      headers: headers({ "content-type": "application/json" }),
      body: JSON.stringify(body),
    }),
    path,
  );
}
