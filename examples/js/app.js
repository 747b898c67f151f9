import credentials from "token-broker:identity/credentials-sync@0.1.0";

export function ends(scope) {
  try {
    return credentials.getToken(scope).expiresOn;
  } catch (error) {
    throw words(error.payload);
  }
}

// A text, or what each source answered.
function words({ tag, val }) {
  const reasons = typeof val === "string" ? [val] : [val].flat().map(({ message, remedy }) => remedy ? `${message}; fix: ${remedy}` : message);
  return `${tag}: ${reasons.join(" | ")}`;
}
