use super::*;
use crate::small_world;

#[test]
fn an_empty_section_is_the_default_and_the_default_is_allowed() {
    let config: ControllerConfig = toml::from_str("").unwrap();
    assert_eq!(config, ControllerConfig::default());
    config.check(&small_world::topology(3)).unwrap();
}

#[test]
fn settings_survive_toml_and_json() {
    let text = r#"
        period = "30 s"
        target_utilization = 0.6
        [guard]
        limits = [{ cells = "ams/*", floor = 2 }]
        budget_per_hour = 12.5
        [[slicing.fixed]]
        cells = "*/video"
        guarantee = "1 Gbit/s"
        [[policy.scheduled.entries]]
        cells = "*"
        from = "18:00"
        until = "02:30"
        days = ["fri", "sat"]
        vms = 7
    "#;
    let config: ControllerConfig = toml::from_str(text).unwrap();
    config.check(&small_world::topology(3)).unwrap();
    assert_eq!(toml::from_str::<ControllerConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ControllerConfig>(&json).unwrap(), config);
}

#[test]
fn what_cannot_be_is_refused_by_key() {
    let cases = [
        ("target_utilization = 1.5", "target_utilization"),
        ("target_utilization = nan", "target_utilization"),
        ("period = \"0 s\"", "period"),
        ("guard = { floor = 9, ceiling = 3 }", "guard.floor"),
        ("guard = { limits = [{ cells = \"nowhere/*\" }] }", "guard.limits[0].cells"),
        ("guard = { limits = [{ cells = \"*/nothing\" }] }", "guard.limits[0].cells"),
        ("guard = { budget_per_hour = -1.0 }", "guard.budget_per_hour"),
        ("slicing = { fixed = [{ cells = \"*\", guarantee = \"900 Gbit/s\" }] }", "slicing.fixed[0].guarantee"),
        ("policy = { predictive = { model = \"tarot\" } }", "policy.predictive.model"),
        ("policy = { predictive = { step = \"7 min\" } }", "policy.predictive.step"),
        ("policy = { predictive = { level = 1.0 } }", "policy.predictive.level"),
    ];
    for (text, key) in cases {
        let config: ControllerConfig = toml::from_str(text).unwrap();
        assert_eq!(config.check(&small_world::topology(2)).unwrap_err().key, key, "{text}");
    }
    for text in ["perod = \"1 min\"", "period = 60", "guard = { limits = [{ cells = \"ams\" }] }"] {
        assert!(toml::from_str::<ControllerConfig>(text).is_err(), "{text}");
    }
    for text in ["25:00", "24:01", "7:30", "07:60", "0730", ""] {
        assert!(TimeOfDay::try_from(text.to_owned()).is_err(), "{text}");
    }
}
