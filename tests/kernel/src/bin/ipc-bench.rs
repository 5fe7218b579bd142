#![no_std]
#![no_main]
sel4_root_task::declare!(main);
fn main(_: &sel4::BootInfoPtr) -> ! {
    panic!()
}
