; SYSCALL from compatibility mode, which has an entry of its own (CSTAR), and from 32-bit code outside of long mode; SYSRET to both
; (AMD APM 3, SYSCALL, SYSRET).
%include "cpu.inc"
%macro MSR 3
        mov ecx, %1
        mov eax, %2
        mov edx, %3
        wrmsr
%endmacro
EFER equ 0xc0000080
STAR equ 0xc0000081
LSTAR equ 0xc0000082
CSTAR equ 0xc0000083
FMASK equ 0xc0000084
        START
        MSR EFER, 1, 0
        ; CS of the kernel 0x08, of the user 0x18.
        MSR STAR, entry32, 0x18 << 16 | CODE
        TO_RING3
        syscall
back32: pushfd
        pop eax
        mov bx, cs
        CHECK_EQ bx, USER_CODE
        mov bx, ss
        CHECK_EQ bx, USER_DATA
        CHECK_EQ ecx, back32
        ; SYSRET sets IF.
        test eax, F_IF
        CHECK nz
        TO_RING0
        cli
        TO_LONG
        MSR STAR, entry32, 0x18 << 16 | CODE
        MSR LSTAR, wrong, 0
        MSR CSTAR, entry_compat, 0
        MSR FMASK, F_DF | F_IF | F_CF, 0
        push USER_DATA
        push user_stack_end
        pushfq
        push USER_CODE                  ; 32 bit
        push compat
        iretq
bits 32
compat: mov ax, cs
        CHECK_EQ ax, USER_CODE
        mov edi, esp
        std
        stc
        syscall
back:   pushfd
        pop eax
        test eax, F_DF
        CHECK nz
        test eax, F_CF
        CHECK nz
        cld
        CHECK_EQ ecx, back
        CHECK_EQ esp, edi
        mov ax, cs
        CHECK_EQ ax, USER_CODE
        mov ax, ss
        CHECK_EQ ax, USER_DATA
        ; Still 32-bit code.
        db 0x40                         ; INC EAX
        nop
        PASS
entry32:
        mov ax, cs
        CHECK_EQ ax, CODE
        mov ax, ss
        CHECK_EQ ax, DATA
        pushfd
        pop eax
        test eax, F_IF
        CHECK z
        CHECK_EQ ecx, back32
        sysret
bits 64
entry_compat:
        mov ax, cs
        CHECK_EQ ax, CODE
        mov ax, ss
        CHECK_EQ ax, DATA
        CHECK_EQ rcx, back
        pushfq
        pop rax
        test eax, F_DF | F_IF | F_CF
        CHECK z
        test r11d, F_DF
        CHECK nz
        test r11d, F_CF
        CHECK nz
        o32 sysret
wrong:  NEVER
