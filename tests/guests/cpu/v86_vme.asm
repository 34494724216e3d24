; Virtual-8086 mode extensions: INT n through the IVT by the redirection bitmap, and the virtual interrupt flag (SDM 3A, 20.3.3).
; A processor without them refuses CR4.VME.
%include "cpu.inc"
        START
        mov eax, 1
        cpuid
        test edx, 2
        jnz has
        mov eax, cr4
        or eax, 1
        FAULTS GP, 0, mov cr4, eax
        PASS
has:    mov eax, cr4
        or eax, 1
        mov cr4, eax
        ; The redirection bitmap is the 32 bytes before the I/O bitmap: all ports allowed in a TSS of its own.
        DESC SLOT1, task, task_bytes - 1, 0x89, 0
        mov dword [task + 4], kernel_stack_end
        mov dword [task + 8], DATA
        mov word [task + 102], task_io - task
        mov ax, SLOT1
        ltr ax
        GATE 0x42, CODE, entry_66, 0xee
        mov word [0x41 * 4], REAL(in_ivt)
        mov word [0x41 * 4 + 2], SEG16
        TO_V86 0
        mov si, sp
        int 0x41
        CHECK_EQ bx, 0x4141
        CHECK_EQ sp, si
        ; STI and CLI work on VIF, PUSHF shows it as IF with IOPL 3.
        QUIET sti
        pushf
        pop ax
        test ax, F_IF
        CHECK nz
        and ax, F_IOPL
        CHECK_EQ ax, F_IOPL
        QUIET cli
        pushf
        pop ax
        test ax, F_IF
        CHECK z
        FAULTS GP, 0, int 0x42
        FROM_V86
        PASS
bits 16
in_ivt: mov bx, 0x4141
        iret
bits 32
        align 16
task:   times 104 db 0
        times 8 db 0
        db 4                            ; INT 0x42 is not redirected: its bit is in byte 8
        times 23 db 0
task_io: times 8193 db 0
task_bytes equ $ - task
