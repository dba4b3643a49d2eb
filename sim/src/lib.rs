//! Overload, made and measured: what comes ([`trace`]), what a server of some places makes of it in injected time
//! ([`world`]), and how good that was ([`figures`]). The ledger, the fair queue, the in-flight limit and, where costs are
//! not told but learned ([`lesson`]), the learner are those that ship; what is simulated here is the model server, its clients and the clock. The same floods go through sockets
//! ([`clients`]) to a stub of such a server ([`stub`]).

pub mod clients;
pub mod dice;
pub mod figures;
pub mod http;
pub mod lesson;
pub mod plot;
pub mod stub;
pub mod trace;
pub mod world;
