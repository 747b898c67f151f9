//! Entra's error numbers (`AADSTS700016`), and the remedy for each.
//!
//! IMDS and App Service relay Entra's errors, so their remedies follow the numbers, too.
//!
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

/// The values that a remedy names.
pub(crate) struct RemedyContext<'a> {
    /// The app or identity, safe to paste into a command.
    pub(crate) client: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) audience: &'a str,
    /// Instructions for renewing the app's credential.
    pub(crate) renewal: &'a str,
    /// The names of two settings.
    pub(crate) authority: &'a str,
    pub(crate) client_secret: &'a str,
}

/// The most specific number: the first that has a remedy, since a general number may come before a specific one
/// (`AADSTS70002: Error validating credentials. AADSTS70008: ...`), else the first.
pub(crate) fn most_specific(numbers: impl Iterator<Item = u32>) -> Option<u32> {
    let numbers: Vec<u32> = numbers.take(MAX_NUMBERS).collect();
    numbers.iter().copied().find(|number| template(*number).is_some()).or_else(|| numbers.first().copied())
}

/// The remedy for a number.
pub(crate) fn remedy(number: u32, context: &RemedyContext<'_>) -> String {
    let Some(template) = template(number) else {
        return format!("see https://login.microsoftonline.com/error?code={number}");
    };
    let mut remedy = String::new();
    for part in template.split('{') {
        let (name, text) = part.split_once('}').unwrap_or(("", part));
        remedy.push_str(match name {
            "client" => context.client,
            "tenant" => context.tenant,
            "audience" => context.audience,
            "renewal" => context.renewal,
            "authority" => context.authority,
            "client_secret" => context.client_secret,
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

/// No federated credential has the assertion's issuer, subject and audience.
pub(crate) const NO_FEDERATED_CREDENTIAL: [u32; 5] = [70_021, 700_211, 700_212, 700_213, 7_002_137];

/// The same request was repeated too often.
pub(crate) const REQUEST_LOOP: u32 = 50_196;

const MAX_NUMBERS: usize = 8;

/// Numbers with the same meaning, and their remedy.
const REMEDIES: &[(&[u32], &str)] = &[
    (
        &[700_016, 7_000_229],
        "no application {client} is in the tenant {tenant}: correct the client id or the tenant id (`az ad app list \
         --filter \"appId eq '{client}'\"` shows whether the app is in the tenant that the command is signed in to), or \
         add the app to the tenant: `az ad sp create --id {client}`; a managed identity with this error was deleted, or its \
         subscription was moved to another tenant: assign it again",
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
        &NO_FEDERATED_CREDENTIAL,
        "no federated credential matches the assertion: issuer, subject and audience must be exactly the same. \
         For a managed identity `az identity federated-credential list -g <group> --identity-name <name>` shows the \
         expected values, for an app `az ad app federated-credential list --id {client}`; a new credential takes some \
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
        "there is no tenant {tenant} in this cloud: `az account show --query tenantId` prints the tenant's id, and \
         {authority} selects the cloud",
    ),
    (
        &[50_001, 500_011],
        "the tenant {tenant} has no service {audience}: use the exact audience of the service's documentation, with or \
         without a trailing slash, or add the service to the tenant with `az ad sp create --id <its application id>`",
    ),
    (
        &[501_051, 50_105],
        "{audience} requires the assignment of a role: assign a role of that application to the identity (portal: Enterprise applications, Users and groups; a managed identity by \
         `az rest --method post --url https://graph.microsoft.com/v1.0/servicePrincipals/<object id of the identity>\
         /appRoleAssignments`), or switch its property \"Assignment required\" off",
    ),
    (&[70_011, 1_002_012], "the scope must be an audience followed by /.default; {audience} may not be one"),
    (
        &[65_001],
        "consent to {audience} for this app is missing: `az ad app permission admin-consent --id {client}`",
    ),
    (
        &[50_013, 500_131, 500_133],
        "the user assertion must be a valid token for the app {client}, issued by the same tenant: pass on the token of \
         the user's request",
    ),
    (
        &[50_173, 70_008, 700_082],
        "the user's sign-in was revoked or has expired, after a change of the password for example: the user must sign in \
         again, and the new token must be passed on",
    ),
    (
        &[50_076, 50_079, 50_158, 53_000, 53_003],
        "the tenant's Conditional Access requires more of the user, or refuses this location: pass on the error and its \
         claims, so that the user can sign in again, or read the sign-in log of the tenant",
    ),
    (
        &[REQUEST_LOOP],
        "the same request was repeated too often: find the cause, a program that restarts or many instances without a \
         shared store (TOKEN_BROKER_STORE_KEY), and wait some minutes",
    ),
    (&[7_000_112], "the app {client} is disabled: `az ad sp update --id {client} --set accountEnabled=true`"),
    (
        &[7_000_216, 7_000_218],
        "the request had no secret or assertion: check for a proxy that changes requests; {renewal}",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::variables::{AUTHORITY_HOST, CLIENT_SECRET};

    fn of(number: u32) -> String {
        let context = RemedyContext {
            client: "app-1",
            tenant: "t-1",
            audience: "https://x",
            renewal: "renew it",
            authority: AUTHORITY_HOST,
            client_secret: CLIENT_SECRET,
        };
        remedy(number, &context)
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
        (&[70_011, 1_002_012], "followed by /.default; https://x"),
        (&[65_001], "az ad app permission admin-consent --id app-1"),
        (&[50_013, 500_131, 500_133], "a valid token for the app app-1"),
        (&[50_173, 70_008, 700_082], "must sign in again, and"),
        (&[50_076, 50_079, 50_158, 53_000, 53_003], "Conditional Access"),
        (&[50_196], "TOKEN_BROKER_STORE_KEY"),
        (&[7_000_112], "accountEnabled=true"),
        (&[7_000_216, 7_000_218], "no secret or assertion"),
    ];

    #[test]
    fn every_name_in_a_remedy_is_filled_in() {
        let known = ["client", "tenant", "audience", "renewal", "authority", "client_secret"];
        for (_, template) in REMEDIES {
            for name in template.split('{').skip(1).map(|part| part.split_once('}').unwrap().0) {
                assert!(known.contains(&name), "{name}");
            }
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
    fn only_a_stale_or_missing_credential_is_to_be_renewed() {
        let all = REMEDIES.iter().flat_map(|(numbers, _)| *numbers).copied().chain([1]);
        let renewing: Vec<_> = all.filter(|number| of(*number).contains("renew it")).collect();
        assert_eq!(renewing, [700_024, 7_000_216, 7_000_218]);
    }

    #[test]
    fn a_number_without_a_row_is_explained_by_entras_own_page() {
        assert_eq!(of(12_345), "see https://login.microsoftonline.com/error?code=12345");
    }

    #[test]
    fn of_several_numbers_the_first_with_a_remedy_counts() {
        assert_eq!(most_specific([70_002, 70_008].into_iter()), Some(70_008));
        assert_eq!(most_specific([70_002, 1].into_iter()), Some(70_002));
        assert_eq!(most_specific(std::iter::empty()), None);
    }
}
