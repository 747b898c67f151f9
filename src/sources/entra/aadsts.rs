//! The numbers by which Entra says why there is no token, `AADSTS700016`, and what an operator does about each.
//!
//! The remedy follows the number, whoever passes it on: IMDS and App Service relay Entra's refusals.
//!
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

/// What a refusal is about, for its remedy.
pub(crate) struct RemedyContext<'a> {
    /// The app or identity, as it may stand in a command.
    pub(crate) client: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) audience: &'a str,
    /// How the app's proof of itself is renewed.
    pub(crate) renewal: &'a str,
    /// The names of two settings.
    pub(crate) authority: &'a str,
    pub(crate) client_secret: &'a str,
}

/// The number that says most: the first that has a remedy, since some only announce another
/// (`AADSTS70002: Error validating credentials. AADSTS70008: ...`), else the first.
pub(crate) fn telling(numbers: impl Iterator<Item = u32>) -> Option<u32> {
    let numbers: Vec<u32> = numbers.take(MAX_NUMBERS).collect();
    numbers.iter().copied().find(|number| template(*number).is_some()).or_else(|| numbers.first().copied())
}

/// What to do about a number.
pub(crate) fn remedy(number: u32, about: &RemedyContext<'_>) -> String {
    let Some(template) = template(number) else {
        return format!("see https://login.microsoftonline.com/error?code={number}");
    };
    let mut remedy = String::new();
    for part in template.split('{') {
        let (name, text) = part.split_once('}').unwrap_or(("", part));
        remedy.push_str(match name {
            "client" => about.client,
            "tenant" => about.tenant,
            "audience" => about.audience,
            "renewal" => about.renewal,
            "authority" => about.authority,
            "client_secret" => about.client_secret,
            _ => "",
        });
        remedy.push_str(text);
    }
    remedy
}

fn template(number: u32) -> Option<&'static str> {
    REMEDIES.iter().find(|(numbers, _)| numbers.contains(&number)).map(|(_, template)| *template)
}

/// The client's assertion has expired, or is not valid yet.
pub(crate) const STALE_ASSERTION: u32 = 700_024;

/// The same request came too often.
pub(crate) const REQUEST_LOOP: u32 = 50_196;

const MAX_NUMBERS: usize = 8;

/// Numbers that mean the same, and their remedy.
const REMEDIES: &[(&[u32], &str)] = &[
    (
        &[700_016, 7_000_229],
        "no application {client} is in the tenant {tenant}: correct the client id or the tenant id (`az ad app list \
         --filter \"appId eq '{client}'\"` tells whether the app is in the tenant that the command is signed in to), or \
         bring the app there: `az ad sp create --id {client}`; a managed identity that gets this was deleted or its \
         subscription has moved to another tenant: assign it anew",
    ),
    (
        &[7_000_215],
        "{client_secret} must be the secret's value, not its id, and without quotes around it; a new one: \
         `az ad app credential reset --id {client}`",
    ),
    (&[7_000_222], "the client secret has expired; a new one: `az ad app credential reset --id {client}`"),
    (
        &[700_027],
        "the app registration does not know this certificate: \
         `az ad app credential reset --id {client} --cert @certificate.pem --append`",
    ),
    (
        &[STALE_ASSERTION],
        "the assertion has expired or is not valid yet: check this machine's clock; {renewal}",
    ),
    (
        &[70_021, 700_211, 700_212, 700_213, 7_002_137],
        "no federated credential fits the assertion: issuer, subject and audience must be the same letter by letter. \
         For a managed identity `az identity federated-credential list -g <group> --identity-name <name>` shows what \
         is expected, for an app `az ad app federated-credential list --id {client}`; a new credential takes some \
         minutes to work",
    ),
    (
        &[7_002_138],
        "the subject of the federated credential differs from the assertion's in upper and lower case only: copy the \
         subject as the message has it; `az identity federated-credential update -g <group> --identity-name <name>` \
         for a managed identity, `az ad app federated-credential update --id {client}` for an app",
    ),
    (
        &[90_061, 50_166],
        "Entra could not read the keys of the assertion's issuer: <issuer>/.well-known/openid-configuration and the \
         key set that it names must be reachable from the internet, without authentication; try again if they are",
    ),
    (
        &[90_002, 900_023],
        "there is no tenant {tenant} in this cloud: `az account show --query tenantId` tells its id, and \
         {authority} names the cloud",
    ),
    (
        &[50_001, 500_011],
        "the tenant {tenant} has no service {audience}: spell the audience as the service's documentation does, with \
         or without a slash at its end, or bring the service there with `az ad sp create --id <its application id>`",
    ),
    (
        &[501_051, 50_105],
        "{audience} gives tokens only to those who have one of its roles: assign the identity a role of that \
         application (portal: Enterprise applications, Users and groups; a managed identity by \
         `az rest --method post --url https://graph.microsoft.com/v1.0/servicePrincipals/<object id of the identity>\
         /appRoleAssignments`), or switch its property \"Assignment required\" off",
    ),
    (
        &[70_011, 1_002_012],
        "the scope must be an audience with /.default behind it; {audience} may not be one",
    ),
    (
        &[65_001],
        "nobody has consented to {audience} for this app: `az ad app permission admin-consent --id {client}`",
    ),
    (
        &[50_013, 500_131, 500_133],
        "the user assertion must be a token for the app {client}, by the same tenant, and still valid: pass on the one \
         that the user called with",
    ),
    (
        &[50_173, 70_008, 700_082],
        "the user's sign-in was revoked or has expired, by a new password for instance: the user must sign in anew, \
         and the new token be passed on",
    ),
    (
        &[50_076, 50_079, 50_158, 53_000, 53_003],
        "the tenant's Conditional Access wants more of the user, or refuses this place: pass the error and its claims \
         on, so that the user can sign in anew, or see the sign-in log of the tenant",
    ),
    (
        &[REQUEST_LOOP],
        "the same request came too often: find what repeats it, a program that restarts or many instances without a \
         shared store (TOKEN_BROKER_STORE_KEY), and wait some minutes",
    ),
    (&[7_000_112], "the app {client} is disabled: `az ad sp update --id {client} --set accountEnabled=true`"),
    (
        &[7_000_216, 7_000_218],
        "the request came without a secret or an assertion: see what stands between and changes requests; {renewal}",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::variables::{AUTHORITY_HOST, CLIENT_SECRET};

    fn of(number: u32) -> String {
        let about = RemedyContext {
            client: "app-1",
            tenant: "t-1",
            audience: "https://x",
            renewal: "renew it",
            authority: AUTHORITY_HOST,
            client_secret: CLIENT_SECRET,
        };
        remedy(number, &about)
    }

    /// A part that only the remedy of these numbers has.
    const EXPECTED: &[(&[u32], &str)] = &[
        (&[700_016, 7_000_229], "az ad sp create --id app-1"),
        (&[7_000_215], "the secret's value, not its id"),
        (&[7_000_222], "the client secret has expired; a new one: `az ad app credential reset --id app-1`"),
        (&[700_027], "--id app-1 --cert @certificate.pem"),
        (&[700_024], "check this machine's clock; renew it"),
        (&[70_021, 700_211, 700_212, 700_213, 7_002_137], "az identity federated-credential list"),
        (&[7_002_138], "in upper and lower case only"),
        (&[90_061, 50_166], "/.well-known/openid-configuration"),
        (&[90_002, 900_023], "no tenant t-1 in this cloud"),
        (&[50_001, 500_011], "the tenant t-1 has no service https://x"),
        (&[501_051, 50_105], "appRoleAssignments"),
        (&[70_011, 1_002_012], "/.default behind it; https://x"),
        (&[65_001], "az ad app permission admin-consent --id app-1"),
        (&[50_013, 500_131, 500_133], "a token for the app app-1"),
        (&[50_173, 70_008, 700_082], "must sign in anew, and"),
        (&[50_076, 50_079, 50_158, 53_000, 53_003], "Conditional Access"),
        (&[50_196], "TOKEN_BROKER_STORE_KEY"),
        (&[7_000_112], "accountEnabled=true"),
        (&[7_000_216, 7_000_218], "without a secret or an assertion"),
    ];

    #[test]
    fn every_name_in_a_remedy_is_filled_in() {
        for (_, template) in REMEDIES {
            let names = template.split('{').skip(1).map(|part| part.split_once('}').unwrap().0);
            names.for_each(|name| {
                assert!(
                    ["client", "tenant", "audience", "renewal", "authority", "client_secret"].contains(&name),
                    "{name}"
                )
            });
        }
    }

    #[test]
    fn every_number_has_the_remedy_of_its_row() {
        assert_eq!(EXPECTED.len(), REMEDIES.len());
        for ((numbers, part), (known, _)) in EXPECTED.iter().zip(REMEDIES) {
            assert_eq!(numbers, known);
            for number in *numbers {
                let remedy = of(*number);
                assert!(remedy.contains(part), "{number}: {remedy}");
                let others =
                    REMEDIES.iter().flat_map(|(numbers, _)| *numbers).filter(|it| !numbers.contains(it));
                assert!(others.clone().all(|other| !of(*other).contains(part)), "{part}");
            }
        }
    }

    #[test]
    fn every_number_is_in_the_documentation() {
        let documentation = include_str!("../../../docs/troubleshooting.md");
        for number in REMEDIES.iter().flat_map(|(numbers, _)| *numbers) {
            assert!(documentation.contains(&format!("`AADSTS{number}`")), "{number}");
        }
    }

    #[test]
    fn only_a_stale_or_missing_proof_speaks_of_renewing_it() {
        let all = REMEDIES.iter().flat_map(|(numbers, _)| *numbers).copied().chain([1]);
        let renewing: Vec<_> = all.filter(|number| of(*number).contains("renew it")).collect();
        assert_eq!(renewing, [700_024, 7_000_216, 7_000_218]);
    }

    #[test]
    fn a_number_without_a_row_is_explained_by_entras_own_page() {
        assert_eq!(of(12_345), "see https://login.microsoftonline.com/error?code=12345");
    }

    #[test]
    fn of_several_numbers_the_first_with_a_remedy_tells() {
        assert_eq!(telling([70_002, 70_008].into_iter()), Some(70_008));
        assert_eq!(telling([70_002, 1].into_iter()), Some(70_002));
        assert_eq!(telling(std::iter::empty()), None);
    }
}
