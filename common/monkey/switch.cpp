// switch.cpp -- changing places, in assembly language for x86-64.
//
// The C++ ABI says which registers a called function must preserve. A switch is a call, so it must
// save only these. The thread_locals change with %fs, see blocks.cpp.

#if !defined(__x86_64__)
#error "06c_monkey_patch is for x86-64"
#endif

__asm__(R"(
    .text

# void green_switch(void** save, void* load): keeps the registers on this stack, goes on with those on the other.
    .globl green_switch
    .hidden green_switch
    .type green_switch, @function
green_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    subq $8, %rsp
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    ldmxcsr (%rsp)
    fldcw 4(%rsp)
    addq $8, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size green_switch, .-green_switch

# Where a new thread's first switch returns to. It has no caller: here unwinding ends.
    .globl green_first
    .hidden green_first
    .type green_first, @function
green_first:
    .cfi_startproc
    .cfi_undefined rip
    call green_main
    ud2
    .cfi_endproc
    .size green_first, .-green_first

# long green_system_call(long number, ...)
    .globl green_system_call
    .hidden green_system_call
    .type green_system_call, @function
green_system_call:
    .cfi_startproc
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    movq %r9, %r8
    movq 8(%rsp), %r9
    syscall
    ret
    .cfi_endproc
    .size green_system_call, .-green_system_call

    .section .note.GNU-stack,"",@progbits
    .text
)");
