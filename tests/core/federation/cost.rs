//! What federation costs: the requests to the platform's issuer and to Entra.

use super::*;

/// The requests to the issuer and to Entra.
fn requests(world: &World) -> (usize, usize) {
    let to_entra = (0..world.requests())
        .filter(|nth| world.sent(*nth).url.starts_with("https://login.microsoftonline.com/"))
        .count();
    (world.requests() - to_entra, to_entra)
}

/// Runs a call, and answers its requests as an issuer of assertions of five minutes and Entra do.
fn served<T>(world: &World, call: impl Future<Output = T>) -> T {
    let mut tasks = Tasks::new(world);
    let task = tasks.start(call);
    let mut answered = world.requests();
    loop {
        tasks.poll();
        if let Some(output) = tasks.output(task) {
            return output;
        }
        assert!(world.requests() > answered, "the call waits for something else");
        let is_issuer = world.sent(answered).url.contains("idtoken");
        let now = i64::try_from(world.seconds()).unwrap();
        world.script([if is_issuer { github(now + 300) } else { entra("T") }]);
        answered += 1;
    }
}

/// Asks for each scope once a minute for a day, and refreshes when told to.
fn day(scopes: &[&str]) -> (usize, usize) {
    let (world, broker) = stage(&app(GITHUB), []);
    for _ in 0..24 * 60 {
        for scope in scopes {
            let grant = served(&world, get(&broker, scope)).unwrap();
            if let Some(ticket) = grant.refresh {
                served(&world, broker.refresh(ticket));
            }
        }
        world.advance_secs(60);
    }
    requests(&world)
}

#[test]
fn a_day_with_assertions_of_five_minutes_costs_one_of_them_for_each_renewal_of_the_tokens() {
    // Entra's tokens of an hour are renewed every 55 minutes: at the first minute and 26 times more.
    assert_eq!(day(&[VAULT]), (27, 27));
    assert_eq!(day(&[VAULT, STORAGE, "https://management.azure.com/.default"]), (27, 81));
}

#[test]
fn thirty_two_cold_callers_cost_one_request_to_the_issuer_and_one_to_entra_for_each_scope() {
    let issuers = [
        (GITHUB, in_field("value", &jwt(300))),
        (PIPELINES, in_field("oidcToken", &jwt(600))),
        (GCP, json_with(200, ("content-type", "text/html"), &jwt(3600))),
    ];
    for (issuer, assertion) in issuers {
        let (world, broker) = stage(&app(issuer), []);
        let mut tasks = crowd(&world, (0..32).map(|_| get(&broker, VAULT)));
        tasks.serve([assertion, entra("T1")]);
        let tokens: Vec<_> = tasks.outputs().into_iter().map(name).collect();
        assert_eq!((tokens.len(), requests(&world)), (32, (1, 1)));
        assert!(tokens.iter().all(|token| token == "T1"));
    }
    let (world, broker) = stage(&app(GITHUB), []);
    let scopes: Vec<_> = (0..8).map(|nth| format!("https://{nth}.example/.default")).collect();
    let mut tasks = crowd(&world, (0..32).map(|nth| get(&broker, &scopes[nth % 8])));
    tasks.serve(std::iter::once(github(300)).chain((0..8).map(|_| entra("T"))));
    assert_eq!((tasks.outputs().len(), requests(&world)), (32, (1, 8)));
}

#[test]
fn thirty_two_cold_instances_that_share_a_store_cost_one_request_to_the_issuer_and_one_to_entra() {
    let world = World::new();
    world.vary_random();
    let store = crate::store::SharedStore::new(&world);
    let pairs = with(&app(GITHUB), &[KEY]);
    let brokers = [(); 32].map(|()| world.sharing(&store, &pairs));
    let mut tasks = crowd(&world, brokers.iter().map(|broker| get(broker, VAULT)));
    tasks.finish([github(300), entra("T1")]);
    let tokens: Vec<_> = tasks.outputs().into_iter().map(name).collect();
    assert_eq!((tokens.len(), requests(&world)), (32, (1, 1)));
    assert!(tokens.iter().all(|token| token == "T1"));
}
