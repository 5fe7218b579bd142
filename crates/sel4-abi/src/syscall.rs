// SPDX-License-Identifier: MIT OR Apache-2.0
//! System call numbers (RDX, sign-extended).

/// `Call`.
pub const CALL: i64 = -1;
/// `ReplyRecv`.
pub const REPLY_RECV: i64 = -2;
/// `NBSendRecv`.
pub const NB_SEND_RECV: i64 = -3;
/// `NBSendWait`.
pub const NB_SEND_WAIT: i64 = -4;
/// `Send`.
pub const SEND: i64 = -5;
/// `NBSend`.
pub const NB_SEND: i64 = -6;
/// `Recv`.
pub const RECV: i64 = -7;
/// `NBRecv`.
pub const NB_RECV: i64 = -8;
/// `Wait`.
pub const WAIT: i64 = -9;
/// `NBWait`.
pub const NB_WAIT: i64 = -10;
/// `Yield`.
pub const YIELD: i64 = -11;
/// `DebugPutChar`.
pub const DEBUG_PUT_CHAR: i64 = -12;
/// `DebugDumpScheduler`.
pub const DEBUG_DUMP_SCHEDULER: i64 = -13;
/// `DebugHalt`.
pub const DEBUG_HALT: i64 = -14;
/// `DebugCapIdentify`.
pub const DEBUG_CAP_IDENTIFY: i64 = -15;
/// `DebugSnapshot`.
pub const DEBUG_SNAPSHOT: i64 = -16;
/// `DebugNameThread`.
pub const DEBUG_NAME_THREAD: i64 = -17;
/// `DebugSendIPI`.
pub const DEBUG_SEND_IPI: i64 = -18;
/// `DebugGetThreadAffinity`.
pub const DEBUG_GET_THREAD_AFFINITY: i64 = -19;
/// `DebugRun`.
pub const DEBUG_RUN: i64 = -20;
/// `BenchmarkFlushCaches`.
pub const BENCHMARK_FLUSH_CACHES: i64 = -21;
/// `BenchmarkResetLog`.
pub const BENCHMARK_RESET_LOG: i64 = -22;
/// `BenchmarkFinalizeLog`.
pub const BENCHMARK_FINALIZE_LOG: i64 = -23;
/// `BenchmarkSetLogBuffer`.
pub const BENCHMARK_SET_LOG_BUFFER: i64 = -24;
/// `BenchmarkNullSyscall`.
pub const BENCHMARK_NULL_SYSCALL: i64 = -25;
/// `BenchmarkGetThreadUtilisation`.
pub const BENCHMARK_GET_THREAD_UTILISATION: i64 = -26;
/// `BenchmarkResetThreadUtilisation`.
pub const BENCHMARK_RESET_THREAD_UTILISATION: i64 = -27;
/// `BenchmarkDumpAllThreadsUtilisation`.
pub const BENCHMARK_DUMP_ALL_THREADS_UTILISATION: i64 = -28;
/// `BenchmarkResetAllThreadsUtilisation`.
pub const BENCHMARK_RESET_ALL_THREADS_UTILISATION: i64 = -29;
/// `X86DangerousWRMSR`.
pub const X86_DANGEROUS_WRMSR: i64 = -30;
/// `X86DangerousRDMSR`.
pub const X86_DANGEROUS_RDMSR: i64 = -31;
/// `VMEnter`.
pub const VM_ENTER: i64 = -32;
/// `SetTLSBase`.
pub const SET_TLS_BASE: i64 = -33;
