; Single steps with TF: after each instruction that began with it set; what PUSHF, POPF, INT, IRET and REP make of it
; (SDM 3A, 17.3.1.4, 6.12.1.3).
%include "cpu.inc"
        START
        SET hook, step
        xor edx, edx
        mov dr6, edx
        ; POPF sets TF: the first trap is behind the instruction that follows.
        SET got_count, 0
        pushfd
        or dword [esp], F_TF
        popfd
        nop
first:  pushfd                          ; the image has TF
        pop eax
        and eax, ~F_TF
        push eax
        popfd                           ; the last trap is behind this
last:   nop
        NOTED got_count, 6
        CHECK_EQ dword [eips], first
        CHECK_EQ dword [eips + 5 * 4], last
        test eax, F_TF
        CHECK z
        test dword [got_dr6], 1 << 14   ; BS
        CHECK nz
        test dword [handler_flags], F_TF
        CHECK z
        ; A taken jump: the address is the target. A jump to itself by LOOP traps each time.
        SET got_count, 0
        mov ecx, 3
        call trace_on
.loop:  loop .loop
        call trace_off
        ; RET of trace_on, LOOP three times, CALL, PUSHFD, AND, POPFD
        NOTED got_count, 8
        CHECK_EQ dword [eips + 1 * 4], .loop
        CHECK_EQ dword [eips + 2 * 4], .loop
        ; Each iteration of REP traps, with the address of the instruction until the last.
        SET got_count, 0
        mov ecx, 3
        mov edi, scratch
        xor eax, eax
        call trace_on
.rep:   rep stosb
.behind:
        call trace_off
        NOTED got_count, 8
        CHECK_EQ dword [eips + 1 * 4], .rep
        CHECK_EQ dword [eips + 2 * 4], .rep
        CHECK_EQ dword [eips + 3 * 4], .behind
        ; INT n clears TF without a trap; the handler's IRET brings it back, and the instruction behind is trapped.
        GATE 0x41, CODE, only_iret, 0x8f
        SET got_count, 0
        call trace_on
        int 0x41
.after: nop
.trapped:
        call trace_off
        ; RET, [INT ... IRET: the flags that IRET loads have TF: trap behind NOP], NOP, CALL, PUSHFD, AND, POPFD
        NOTED got_count, 6
        CHECK_EQ dword [eips + 1 * 4], .trapped
        ; A fault in a traced instruction comes first, and no trap behind it until it is done.
        SET hook, fault
        SET got_count, 0
        call trace_on
        ud2
.over:  nop
.over2: call trace_off
        NOTED got_count, 7
        CHECK_EQ byte [vectors + 1], UD
        PASS

trace_on:
        pushfd
        or dword [esp], F_TF
        popfd
        ret
trace_off:
        pushfd
        and dword [esp], ~F_TF
        popfd
        ret
only_iret:
        iret
step:   mov ecx, [got_count]
        mov eax, [ebp + F_EIP]
        mov [eips + ecx * 4 - 4], eax
        ret
; UD2 is stepped over.
fault:  mov ecx, [got_count]
        mov eax, [got_vector]
        mov [vectors + ecx - 1], al
        cmp eax, UD
        jne .done
        add dword [ebp + F_EIP], 2
.done:  ret
eips:   times 16 dd 0
vectors: times 16 db 0
