//! No tenant has more than its part.

use super::*;
use crate::cost::features::Features;

fn add(accounts: &mut Accounts, tenant: u64, times: usize) {
    for _ in 0..times {
        accounts.add(tenant, (&Features([1.0; 7]), 100.0, 1.0), Tokens::default());
    }
}

#[test]
fn no_tenant_has_more_than_a_fifth_where_five_or_more_are_there() {
    for loud in [1, 10, 100] {
        let mut accounts = Accounts::default();
        for _ in 0..50 {
            for quiet in 1..=7 {
                add(&mut accounts, quiet, 1);
            }
            add(&mut accounts, 99, loud);
        }
        accounts.combine();
        assert!(accounts.largest_part() <= 0.2 + 1e-9, "{loud}: {}", accounts.largest_part());
    }
}

#[test]
fn fewer_tenants_have_equal_parts_at_most() {
    for tenants in 1..5_u64 {
        let mut accounts = Accounts::default();
        for tenant in 0..tenants {
            add(&mut accounts, tenant, 20 + 40 * tenant as usize);
        }
        accounts.combine();
        let part = accounts.largest_part();
        assert!((part - 1.0 / tenants as f64).abs() < 1e-9, "{tenants}: {part}");
    }
}

#[test]
fn a_tenant_of_one_sample_does_not_silence_the_others() {
    let mut accounts = Accounts::default();
    add(&mut accounts, 1, 400);
    add(&mut accounts, 2, 1);
    let combined = accounts.combine();
    assert!(combined.normal.count() > 250.0, "{}", combined.normal.count());
}

#[test]
fn what_was_kept_fades_as_samples_come() {
    let mut before = Accounts::default();
    add(&mut before, 1, 1_000);
    let kept = before.combine();
    let mut accounts = Accounts::restored(kept.clone());
    assert!((accounts.combine().normal.count() - kept.normal.count()).abs() < 1e-9);
    add(&mut accounts, 1, 3_000);
    let share = accounts.kept.as_ref().map_or(0.0, |kept| kept.mass(3_000));
    assert!(share < 2.0, "{share}");
}

#[test]
fn more_tenants_than_accounts_share_them() {
    let mut accounts = Accounts::default();
    for tenant in 0..10_000_u64 {
        add(&mut accounts, tenant << 32, 1);
    }
    assert!(accounts.accounts.len() <= ACCOUNTS);
    assert!(accounts.combine().normal.count() > 100.0);
}
