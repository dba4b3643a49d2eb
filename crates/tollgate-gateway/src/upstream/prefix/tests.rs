use proptest::prelude::*;
use tollgate_core::call::Role;

use super::*;

const SECRET: (u64, u64) = (1, 2);

fn prompt(role: Role, text: &str) -> Prompt {
    Prompt { role, text: text.into(), at: 0..0 }
}

fn chat(texts: &[&str]) -> Vec<Prompt> {
    texts.iter().map(|text| prompt(Role::User, text)).collect()
}

fn of(texts: &[&str]) -> Beginnings {
    Beginnings::of("llama", &chat(texts), 7, SECRET)
}

#[test]
fn a_chat_that_goes_on_keeps_its_beginnings() {
    let system = "s".repeat(3000);
    let (first, later) = (of(&[&system, "hello"]), of(&[&system, "hello", &"more ".repeat(500)]));
    assert_eq!(first.longest_first().count(), 2, "whole blocks alone");
    let remembered = Remembered::default();
    assert_eq!(remembered.find(&later), None);
    remembered.keep(&first, 3);
    assert_eq!(remembered.find(&later), Some(3));
    remembered.keep(&later, 5);
    assert_eq!(remembered.find(&later), Some(5));
}

#[test]
fn another_tenant_model_or_role_is_another_beginning() {
    let text = "x".repeat(1024);
    let own = of(&[&text]);
    assert_ne!(own, Beginnings::of("llama", &chat(&[&text]), 8, SECRET));
    assert_ne!(own, Beginnings::of("mistral", &chat(&[&text]), 7, SECRET));
    assert_ne!(own, Beginnings::of("llama", &[prompt(Role::System, &text)], 7, SECRET));
    assert_ne!(own, Beginnings::of("llama", &chat(&[&text]), 7, (1, 3)));
    assert_eq!(own, Beginnings::of("llama", &chat(&[&text]), 7, SECRET));
}

#[test]
fn a_short_prompt_has_no_beginning() {
    assert_eq!(of(&["hello"]), Beginnings::default());
    assert_eq!(Remembered::default().find(&of(&["hello"])), None);
}

#[test]
fn no_more_is_read_than_is_told_apart() {
    let long = of(&[&"y".repeat(1 << 20)]);
    assert_eq!(long.longest_first().count(), MOST);
}

proptest! {
    /// How a text is cut into messages of one role does not matter to where blocks end, but what stands before does.
    #[test]
    fn two_prompts_share_as_many_blocks_as_they_agree_in(same in 0_usize..6_000, more in 1_usize..3_000) {
        let common = "a".repeat(same);
        let (one, other) = (of(&[&format!("{common}{}", "b".repeat(more))]), of(&[&format!("{common}{}", "c".repeat(more))]));
        let shared = one.0.iter().zip(&other.0).filter(|(one, other)| one == other && **one != 0).count();
        prop_assert_eq!(shared, same / BLOCK);
    }
}
