//! The hosts of Azure's services, and the audiences of their tokens.
//!
//! Only Microsoft answers at these hosts: a customer with code of his own behind a host, as behind
//! `*.azurewebsites.net`, could read the tokens that are sent there. Audiences are those of Azure's own libraries; where
//! these know none for a cloud, there is no row. A container registry takes a token of Entra's only in exchange for one of
//! its own, and a database does not speak HTTP: neither is here.

use crate::pattern::Key;
use crate::rules::HeaderForm::{self, Bearer, CosmosDb};
use crate::rules::Rule;

/// The built-in rule with a pattern, if there is one.
pub(crate) fn at(key: Key<'_>) -> Option<Rule> {
    let key = key.usual()?;
    let index = TABLE.binary_search_by(|(pattern, ..)| key_of(pattern).cmp(&key)).ok()?;
    TABLE.get(index).map(|(pattern, audience, form)| Rule::built_in(pattern, audience, *form))
}

fn key_of(pattern: &str) -> (&str, bool) {
    pattern.strip_prefix("*.").map_or((pattern, false), |domain| (domain, true))
}

/// By host, for a binary search.
const TABLE: &[(&str, &str, HeaderForm)] = &[
    ("api.applicationinsights.io", "https://api.applicationinsights.io", Bearer),
    ("api.loganalytics.azure.cn", "https://api.loganalytics.azure.cn", Bearer),
    ("api.loganalytics.azure.com", "https://api.loganalytics.io", Bearer),
    ("api.loganalytics.io", "https://api.loganalytics.io", Bearer),
    ("api.loganalytics.us", "https://api.loganalytics.us", Bearer),
    ("*.appconfig.azure.cn", "https://appconfig.azure.cn", Bearer),
    ("*.appconfig.azure.com", "https://appconfig.azure.com", Bearer),
    ("*.appconfig.azure.us", "https://appconfig.azure.us", Bearer),
    ("*.azconfig.azure.cn", "https://appconfig.azure.cn", Bearer),
    ("*.azconfig.azure.us", "https://appconfig.azure.us", Bearer),
    ("*.azconfig.io", "https://appconfig.azure.com", Bearer),
    ("*.batch.azure.com", "https://batch.core.windows.net", Bearer),
    ("*.batch.chinacloudapi.cn", "https://batch.chinacloudapi.cn", Bearer),
    ("*.batch.usgovcloudapi.net", "https://batch.core.usgovcloudapi.net", Bearer),
    ("*.blob.core.chinacloudapi.cn", STORAGE, Bearer),
    ("*.blob.core.usgovcloudapi.net", STORAGE, Bearer),
    ("*.blob.core.windows.net", STORAGE, Bearer),
    ("*.blob.storage.azure.net", STORAGE, Bearer),
    ("*.cognitiveservices.azure.cn", "https://cognitiveservices.azure.cn", Bearer),
    ("*.cognitiveservices.azure.com", "https://cognitiveservices.azure.com", Bearer),
    ("*.cognitiveservices.azure.us", "https://cognitiveservices.azure.us", Bearer),
    ("*.dfs.core.chinacloudapi.cn", STORAGE, Bearer),
    ("*.dfs.core.usgovcloudapi.net", STORAGE, Bearer),
    ("*.dfs.core.windows.net", STORAGE, Bearer),
    ("*.dfs.storage.azure.net", STORAGE, Bearer),
    ("*.documents.azure.cn", "https://cosmos.azure.cn", CosmosDb),
    ("*.documents.azure.com", "https://cosmos.azure.com", CosmosDb),
    ("*.documents.azure.us", "https://cosmos.azure.us", CosmosDb),
    ("dod-graph.microsoft.us", "https://dod-graph.microsoft.us", Bearer),
    ("*.eventgrid.azure.net", "https://eventgrid.azure.net", Bearer),
    ("*.file.core.chinacloudapi.cn", STORAGE, Bearer),
    ("*.file.core.usgovcloudapi.net", STORAGE, Bearer),
    ("*.file.core.windows.net", STORAGE, Bearer),
    ("*.file.storage.azure.net", STORAGE, Bearer),
    ("graph.microsoft.com", "https://graph.microsoft.com", Bearer),
    ("graph.microsoft.us", "https://graph.microsoft.us", Bearer),
    ("*.ingest.monitor.azure.cn", "https://monitor.azure.cn", Bearer),
    ("*.ingest.monitor.azure.com", "https://monitor.azure.com", Bearer),
    ("*.ingest.monitor.azure.us", "https://monitor.azure.us", Bearer),
    ("*.kusto.chinacloudapi.cn", "https://kusto.kusto.chinacloudapi.cn", Bearer),
    ("*.kusto.usgovcloudapi.net", "https://kusto.kusto.usgovcloudapi.net", Bearer),
    ("*.kusto.windows.net", "https://kusto.kusto.windows.net", Bearer),
    ("*.managedhsm.azure.cn", "https://managedhsm.azure.cn", Bearer),
    ("*.managedhsm.azure.net", "https://managedhsm.azure.net", Bearer),
    ("*.managedhsm.usgovcloudapi.net", "https://managedhsm.usgovcloudapi.net", Bearer),
    ("management.azure.com", "https://management.azure.com", Bearer),
    ("management.chinacloudapi.cn", "https://management.chinacloudapi.cn", Bearer),
    ("management.usgovcloudapi.net", "https://management.core.usgovcloudapi.net", Bearer),
    ("*.metrics.monitor.azure.cn", "https://metrics.monitor.azure.cn", Bearer),
    ("*.metrics.monitor.azure.com", "https://metrics.monitor.azure.com", Bearer),
    ("*.metrics.monitor.azure.us", "https://metrics.monitor.azure.us", Bearer),
    ("microsoftgraph.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn", Bearer),
    ("*.openai.azure.com", "https://cognitiveservices.azure.com", Bearer),
    ("*.openai.azure.us", "https://cognitiveservices.azure.us", Bearer),
    ("*.queue.core.chinacloudapi.cn", STORAGE, Bearer),
    ("*.queue.core.usgovcloudapi.net", STORAGE, Bearer),
    ("*.queue.core.windows.net", STORAGE, Bearer),
    ("*.queue.storage.azure.net", STORAGE, Bearer),
    ("*.search.azure.cn", "https://search.azure.cn", Bearer),
    ("*.search.azure.us", "https://search.azure.us", Bearer),
    ("*.search.windows.net", "https://search.azure.com", Bearer),
    ("*.service.signalr.net", "https://signalr.azure.com", Bearer),
    ("*.servicebus.chinacloudapi.cn", SERVICE_BUS, Bearer),
    ("*.servicebus.usgovcloudapi.net", SERVICE_BUS, Bearer),
    ("*.servicebus.windows.net", SERVICE_BUS, Bearer),
    ("*.table.core.chinacloudapi.cn", STORAGE, Bearer),
    ("*.table.core.usgovcloudapi.net", STORAGE, Bearer),
    ("*.table.core.windows.net", STORAGE, Bearer),
    ("*.table.cosmos.azure.cn", "https://cosmos.azure.cn", Bearer),
    ("*.table.cosmos.azure.com", "https://cosmos.azure.com", Bearer),
    ("*.table.cosmos.azure.us", "https://cosmos.azure.us", Bearer),
    ("*.table.storage.azure.net", STORAGE, Bearer),
    ("*.vault.azure.cn", "https://vault.azure.cn", Bearer),
    ("*.vault.azure.net", "https://vault.azure.net", Bearer),
    ("*.vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net", Bearer),
    ("*.webpubsub.azure.com", "https://webpubsub.azure.com", Bearer),
];

/// The same in every cloud: <https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory>
const STORAGE: &str = "https://storage.azure.com";
/// The same in every cloud, says each of Azure's libraries for it.
const SERVICE_BUS: &str = "https://servicebus.azure.net";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Pattern;
    use token_broker::Scope;

    #[test]
    fn the_table_is_in_order_and_each_row_is_a_rule() {
        for pair in TABLE.windows(2) {
            assert!(key_of(pair[0].0) < key_of(pair[1].0), "{} before {}", pair[0].0, pair[1].0);
        }
        for (pattern, audience, _) in TABLE {
            let rule = at(Pattern::parse(pattern).unwrap().key()).unwrap();
            assert_eq!((rule.pattern(), rule.scope()), (*pattern, Some(*audience)));
            assert_eq!(Scope::parse(audience).unwrap().audience(), *audience);
        }
    }

    #[test]
    fn the_documentation_has_each_row() {
        let page = include_str!("../../../docs/injection.md");
        for (pattern, audience, _) in TABLE {
            let said = [pattern, audience].map(|text| format!("`{text}`"));
            assert!(
                page.lines().any(|line| said.iter().all(|text| line.contains(text))),
                "{pattern}: {audience}"
            );
        }
    }
}
