; ENTER: frame pointers of outer levels, a stack that counts 16 bits with 32-bit operands, and a fault where the stack pointer would
; come to be (SDM 2A, ENTER).
%include "cpu.inc"
        START
        ; Three levels: the two pointers of the frame before, then its own.
        mov ebp, kernel_stack_end - 0x40
        mov dword [ebp - 4], 0x11111111
        mov dword [ebp - 8], 0x22222222
        mov esp, kernel_stack_end - 0x80
        enter 0x10, 3
        CHECK_EQ ebp, kernel_stack_end - 0x84
        CHECK_EQ esp, kernel_stack_end - 0xa0
        NOTED kernel_stack_end - 0x84, kernel_stack_end - 0x40
        NOTED kernel_stack_end - 0x88, 0x11111111
        NOTED kernel_stack_end - 0x8c, 0x22222222
        NOTED kernel_stack_end - 0x90, kernel_stack_end - 0x84
        leave
        CHECK_EQ ebp, kernel_stack_end - 0x40
        CHECK_EQ esp, kernel_stack_end - 0x80
        ; By 16 bits the upper half of EBP stays (which processors do, and the manual leaves open).
        mov ebp, 0x1234 << 16 | 0x5678
        mov esp, kernel_stack_end
        o16 enter 2, 0
        CHECK_EQ esp, kernel_stack_end - 4
        lea eax, [esp + 2]
        CHECK_EQ bp, ax
        shr ebp, 16
        CHECK_EQ bp, 0x1234
        ; A stack of 64 KiB: what SP does not count goes into the frame pointer as it is.
        DESC SLOT1, PAGE1, 0xffff, 0x93, 0
        mov ax, SLOT1
        mov ss, ax
        mov ebp, 0xabcd0008
        mov esp, 0x12340100
        enter 4, 1
        CHECK_EQ ebp, 0x123400fc
        CHECK_EQ esp, 0x123400f4
        NOTED PAGE1 + 0xfc, 0xabcd0008
        NOTED PAGE1 + 0xf8, 0x123400fc
        mov ax, DATA
        mov ss, ax
        mov esp, kernel_stack_end
        ; No byte is written where the stack pointer comes to be, and it must be possible.
        PAGING
        MAP PAGE1, 0                    ; faults have the stack of level 0
        TO_RING3
        mov ebp, 7
        mov esp, PAGE2 + 8
        FAULTS PF, 6, {enter 0x10, 0}
        CHECK_EQ ebp, 7
        NOTED got_cr2, PAGE2 + 8 - 4 - 0x10
        CHECK_EQ esp, PAGE2 + 8
        QUIET enter 4, 0
        PASS
