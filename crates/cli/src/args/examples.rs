//! The ends of the help texts: examples and exit codes.
//!
//! The lines of an example are short: clap wraps longer ones, and a wrapped command cannot be pasted into a shell.

pub(super) const EXIT_CODES: &str = "Exit codes: 0 success, 1 other, 2 usage or invalid request, 3 misconfigured, 4 denied, \
    5 unavailable, 6 rejected, 7 throttled, 8 transient, 9 protocol";

pub(super) const GET: &str = "\
Examples:
  token-broker get --scope https://vault.azure.net/.default
  token-broker get --scope https://storage.azure.com/.default \\
    --client-id 11111111-1111-1111-1111-111111111111
  token-broker get --scope https://management.azure.com/.default -o header \\
    | curl -H @- 'https://management.azure.com/tenants?api-version=2022-12-01'
  token-broker get --scope api://00001111-aaaa-2222-bbbb-3333cccc4444 \\
    --watch --write /run/token-broker/token \\
    --write /run/token-broker/header,format=bearer --signal /run/proxy.pid";

pub(super) const EXPLAIN: &str = "\
Examples:
  token-broker explain
  token-broker explain --try --scope https://vault.azure.net/.default
  token-broker explain --output json";

pub(super) const RUN: &str = "\
Examples:
  token-broker run --scope https://vault.azure.net \\
    --allow https://my.vault.azure.net \\
    --env KEY_VAULT_URL=https://my.vault.azure.net key-vault.wasm --show";

pub(super) const SERVE: &str = "\
Examples:
  token-broker serve
  AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:4141 python3 app.py
  token-broker serve --unix /run/token-broker/socket
  curl --unix-socket /run/token-broker/socket -H Metadata:true \\
    'http://localhost/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net'";

pub(super) const COMPLETIONS: &str = "\
Examples:
  token-broker completions bash \\
    > ~/.local/share/bash-completion/completions/token-broker
  token-broker completions zsh > ~/.zfunc/_token-broker
  token-broker completions fish > ~/.config/fish/completions/token-broker.fish";

pub(super) const MAN: &str = "\
Examples:
  token-broker man > /usr/local/share/man/man1/token-broker.1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_can_be_pasted_from_a_terminal_of_80_columns() {
        for line in [GET, EXPLAIN, RUN, SERVE, COMPLETIONS, MAN].iter().flat_map(|text| text.lines()) {
            assert!(line.len() <= 80 || !line.trim_start().contains(' '), "{line}");
        }
    }
}
