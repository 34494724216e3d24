/* Multiboot header, entry, and the way from an interrupt to C and back. */

        .cfi_sections .debug_frame              /* for debuggers only: nothing is loaded */

        .set    MAGIC, 0x1badb002
        .set    FLAGS, 3                        /* aligned modules, memory information */

        .section .multiboot, "a"
        .balign 4
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)

        .bss
        .balign 16
stack:  .skip   16384
stack_end:

        .text
        .globl  _start
        .type   _start, @function
_start:
        .cfi_startproc
        .cfi_undefined eip                      /* nobody called: the end of every backtrace */
        cld
        movl    $stack_end, %esp
        xorl    %ebp, %ebp
        call    kernel_main
        .cfi_endproc
        .size   _start, . - _start
        /* Never reached: kernel_main does not return. */

/* After entry every handler has the same picture on its stack: registers, vector, error code, and what the CPU pushed. The
   directives tell a debugger where the interrupted function's registers are, so that it can show the stack below. */
        .macro  entry vector, has_error_code
        .balign 16
entry_\vector:
        .if     \has_error_code == 0
        pushl   $0
        .endif
        pushl   $\vector
        jmp     common_entry
        .endm

        .irp    vector, 0,1,2,3,4,5,6,7,9,15,16,18,19,20
        entry   \vector, 0
        .endr
        .irp    vector, 8,10,11,12,13,14,17
        entry   \vector, 1
        .endr
        .irp    vector, 32,33,34,35,36,37,38,39
        entry   \vector, 0
        .endr

        .type   common_entry, @function
common_entry:
        .cfi_startproc simple
        .cfi_signal_frame
        .cfi_def_cfa esp, 20                    /* vector, error code, EIP, CS, EFLAGS */
        .cfi_offset eip, -12
        pushal
        .cfi_adjust_cfa_offset 32
        .cfi_offset eax, -24
        .cfi_offset ecx, -28
        .cfi_offset edx, -32
        .cfi_offset ebx, -36
        .cfi_offset ebp, -44
        .cfi_offset esi, -48
        .cfi_offset edi, -52
        cld
        pushl   %esp
        .cfi_adjust_cfa_offset 4
        call    interrupt
        addl    $4, %esp
        .cfi_adjust_cfa_offset -4
        popal
        .cfi_adjust_cfa_offset -32
        .cfi_restore eax
        .cfi_restore ecx
        .cfi_restore edx
        .cfi_restore ebx
        .cfi_restore ebp
        .cfi_restore esi
        .cfi_restore edi
        addl    $8, %esp
        .cfi_adjust_cfa_offset -8
        iretl
        .cfi_endproc
        .size   common_entry, . - common_entry

/* Addresses of the entries by vector; 0 where there is none. */
        .section .rodata
        .balign 4
        .globl  interrupt_entries
interrupt_entries:
        .irp    vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20
        .long   entry_\vector
        .endr
        .skip   4 * 11
        .irp    vector, 32,33,34,35,36,37,38,39
        .long   entry_\vector
        .endr

        .section .note.GNU-stack, "", @progbits
